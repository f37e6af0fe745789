// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is served, and the way of an answer to the guest's tap.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use netagent_common::maps::{PuntKind, Punted};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::{
    lease,
    v4::{self, Outcome},
};
use crate::{
    core::{
        guest::Guest,
        ids::{NetnsId, PortId},
    },
    sys::{
        netns::{Netns, NetnsError},
        packet_socket::PacketSocket,
    },
};

/// Answers on their way at one time. The token buckets bound what one port can ask for; this bounds the node.
const ANSWERS_IN_FLIGHT: usize = 64;

/// One port's hand-off.
#[derive(Clone, Debug)]
pub struct Served {
    /// The port's name.
    pub port: PortId,
    /// Path of its namespace.
    pub netns: PathBuf,
    /// Which namespace that must be.
    pub netns_id: NetnsId,
    /// The tap, in that namespace.
    pub tap_ifindex: u32,
    /// What the guest is told.
    pub guest: Guest,
}

/// What was said with one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// The last message that was answered, as in `request -> ack`.
    pub last: String,
    /// Messages by type and outcome.
    pub messages: BTreeMap<String, u64>,
}

/// Serves the guests of all ports.
#[derive(Debug)]
pub struct Service {
    lease_time: Duration,
    ports: Mutex<BTreeMap<u32, Entry>>,
    in_flight: Arc<Semaphore>,
}

#[derive(Debug)]
struct Entry {
    served: Served,
    lease: Option<v4::Lease>,
    dialogue: Dialogue,
}

/// An answer that did not reach the tap.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("the namespace at this path is another one now")]
    OtherNetns,
    #[error("send to the tap")]
    Socket(#[source] io::Error),
}

impl Service {
    /// Serves nobody yet. Leases last for `lease_time`.
    pub fn new(lease_time: Duration) -> Self {
        Self { lease_time, ports: Mutex::default(), in_flight: Arc::new(Semaphore::new(ANSWERS_IN_FLIGHT)) }
    }

    /// Serves the port in `slot` from now on, or tells it something else from now on.
    pub fn serve(&self, slot: u32, served: Served) {
        let lease = lease::v4(&served.guest, self.lease_time);
        for unusable in lease.iter().flat_map(v4::Lease::unusable_names) {
            warn!(port = %served.port, %unusable, "left a name out of the lease");
        }
        let mut ports = self.ports();
        let dialogue = match ports.remove(&slot) {
            Some(entry) if entry.served.port == served.port => entry.dialogue,
            _ => Dialogue::default(),
        };
        ports.insert(slot, Entry { served, lease, dialogue });
    }

    /// Stops serving a slot.
    pub fn stop(&self, slot: u32) {
        self.ports().remove(&slot);
    }

    /// What the port in `slot` is told, `None` when it is not this port that is served there.
    pub fn serving(&self, slot: u32, port: &PortId) -> Option<Served> {
        let ports = self.ports();
        ports.get(&slot).filter(|e| e.served.port == *port).map(|e| e.served.clone())
    }

    /// What was said with the guest in `slot`.
    pub fn dialogue(&self, slot: u32) -> Dialogue {
        self.ports().get(&slot).map(|e| e.dialogue.clone()).unwrap_or_default()
    }

    /// The lease that the guest in `slot` gets.
    pub fn lease(&self, slot: u32) -> Option<v4::Lease> {
        self.ports().get(&slot).and_then(|e| e.lease.clone())
    }

    /// Takes one frame of a guest; the answer goes out by itself.
    pub fn take(&self, punted: &Punted) {
        let Some(frame) = punted.frame.get(..punted.len as usize) else { return };
        let mut ports = self.ports();
        let Some(entry) = ports.get_mut(&punted.slot) else { return };
        let (said, frame) = match PuntKind::from_u32(punted.kind) {
            Some(PuntKind::Dhcpv4) => match &entry.lease {
                Some(lease) => said(&entry.served.port, v4::answer(lease, frame)),
                None => ("dhcpv4 without lease".to_owned(), None),
            },
            Some(PuntKind::Dhcpv6) => ("dhcpv6 unserved".to_owned(), None),
            Some(PuntKind::RouterSolicitation) => ("router_solicitation unserved".to_owned(), None),
            None => return,
        };
        if frame.is_some() {
            entry.dialogue.last.clone_from(&said);
        }
        *entry.dialogue.messages.entry(said).or_default() += 1;
        if let Some(frame) = frame {
            self.send(entry.served.clone(), frame);
        }
    }

    fn send(&self, served: Served, frame: Vec<u8>) {
        let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
            debug!(port = %served.port, "too many answers on their way, dropped one");
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = deliver(&served, frame).await {
                debug!(port = %served.port, error = format!("{:#}", anyhow::Error::from(error)), "answer lost");
            }
            drop(permit);
        });
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<u32, Entry>> {
        // Nothing is left half done while the lock is held.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a message: its name in the counters, and the answer's frame.
fn said(port: &PortId, outcome: Outcome) -> (String, Option<Vec<u8>>) {
    match outcome {
        Outcome::Reply(reply) => {
            let said = format!("{} -> {}", reply.to.as_str(), reply.message.as_str());
            // The token bucket bounds these lines, as it bounds the messages.
            info!(%port, message = %said, asked = ?reply.asked, left_out = ?reply.left_out, "answered DHCPv4");
            (said, Some(reply.frame))
        }
        Outcome::Event(event) => {
            info!(%port, ?event, "DHCPv4 event");
            (event.as_str().to_owned(), None)
        }
        Outcome::Silent(silence) => {
            debug!(%port, ?silence, "no answer to DHCPv4");
            (format!("silent {}", silence.as_str()), None)
        }
    }
}

/// The socket lives for one frame: an open one would keep the pod's namespace alive.
async fn deliver(served: &Served, frame: Vec<u8>) -> Result<(), SendError> {
    let netns = Netns::open(&served.netns)?;
    if netns.id() != served.netns_id {
        return Err(SendError::OtherNetns);
    }
    let ifindex = served.tap_ifindex;
    let sent = netns.run(move || PacketSocket::open()?.send(ifindex, &frame)).await?;
    sent.map_err(SendError::Socket)
}
