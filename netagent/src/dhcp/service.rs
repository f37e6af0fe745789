// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is served, and the way of an answer to the guest's tap.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use netagent_common::maps::{PuntKind, Punted, TAGGED};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use super::{
    announce::Announcements,
    lease, path_mtu,
    v4::{self, Event, Outcome},
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

/// Answers on their way at one time, each with a thread. The token buckets bound what one port can ask for; this bounds
/// the node.
const ANSWERS_IN_FLIGHT: usize = 64;
/// Of those, answers to one guest: it must not take them from the others.
const ANSWERS_PER_PORT: usize = 4;

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
    served: Arc<Served>,
    lease: Option<v4::Lease>,
    /// Goes on when the port is told something else.
    talk: Talk,
}

/// The exchanges with one guest.
#[derive(Debug)]
struct Talk {
    dialogue: Dialogue,
    announcements: Announcements,
    in_flight: Arc<Semaphore>,
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            dialogue: Dialogue::default(),
            announcements: Announcements::new(Instant::now()),
            in_flight: Arc::new(Semaphore::new(ANSWERS_PER_PORT)),
        }
    }
}

/// What came of one frame.
#[derive(Debug, Default)]
struct Exchange {
    /// Its name in the counters.
    said: String,
    /// The address that the guest asked for, declined or gave back.
    address: Option<Ipv4Addr>,
    /// Options that did not fit.
    left_out: Vec<u8>,
    /// The answer.
    frame: Option<Vec<u8>>,
    /// Whether people want to know.
    notable: bool,
}

/// An answer on its way. Dropping it makes room for the next.
#[derive(Debug)]
struct Answer {
    served: Arc<Served>,
    frame: Vec<u8>,
    _room: [OwnedSemaphorePermit; 2],
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
        let unusable = lease.as_ref().map(v4::Lease::unusable_names).unwrap_or_default();
        if let Some(first) = unusable.first() {
            warn!(port = %served.port, names = unusable.len(), %first, "left names out of the lease");
        }
        let mut ports = self.ports();
        let talk = match ports.remove(&slot) {
            Some(entry) if entry.served.port == served.port => entry.talk,
            _ => Talk::default(),
        };
        ports.insert(slot, Entry { served: Arc::new(served), lease, talk });
    }

    /// Stops serving a slot.
    pub fn stop(&self, slot: u32) {
        self.ports().remove(&slot);
    }

    /// What the port in `slot` is told, `None` when it is not this port that is served there.
    pub fn serving(&self, slot: u32, port: &PortId) -> Option<Served> {
        let ports = self.ports();
        ports.get(&slot).filter(|e| e.served.port == *port).map(|e| Served::clone(&e.served))
    }

    /// What was said with the guest in `slot`.
    pub fn dialogue(&self, slot: u32) -> Dialogue {
        self.ports().get(&slot).map(|e| e.talk.dialogue.clone()).unwrap_or_default()
    }

    /// The lease that the guest in `slot` gets.
    pub fn lease(&self, slot: u32) -> Option<v4::Lease> {
        self.ports().get(&slot).and_then(|e| e.lease.clone())
    }

    /// Takes one frame of a guest; the answer goes out by itself.
    pub fn take(&self, punted: &Punted) {
        let Some(frame) = punted.frame.get(..punted.len as usize) else { return };
        let Some(kind) = PuntKind::from_u32(punted.kind) else { return };
        let mut ports = self.ports();
        let Some(entry) = ports.get_mut(&punted.slot) else { return };
        let mut exchange = match kind {
            PuntKind::Dhcpv4 => dhcpv4(entry.lease.as_ref(), frame),
            PuntKind::Dhcpv6 => Exchange::unserved("dhcpv6 unserved".to_owned()),
            PuntKind::RouterSolicitation => Exchange::unserved("router_solicitation unserved".to_owned()),
            PuntKind::TooBig => too_big(&entry.served.guest, frame, punted.tag),
        };
        let answer = exchange.frame.take().and_then(|frame| {
            let answer = self.answer(entry, frame);
            if answer.is_none() {
                exchange = Exchange { said: "dropped busy".to_owned(), ..Exchange::default() };
            }
            answer
        });
        let talk = &mut entry.talk;
        if answer.is_some() && kind != PuntKind::TooBig {
            talk.dialogue.last.clone_from(&exchange.said);
        }
        *talk.dialogue.messages.entry(exchange.said.clone()).or_default() += 1;
        let told =
            exchange.notable.then(|| talk.announcements.tell(&exchange.said, Instant::now())).flatten();
        let port = entry.served.port.clone();
        // Neither logging nor sending keeps the other ports waiting.
        drop(ports);
        exchange.log(&port, told);
        if let Some(answer) = answer {
            tokio::spawn(answer.send());
        }
    }

    /// Room for an answer, on the port and on the node.
    fn answer(&self, entry: &Entry, frame: Vec<u8>) -> Option<Answer> {
        let of_port = Arc::clone(&entry.talk.in_flight).try_acquire_owned().ok()?;
        let of_node = Arc::clone(&self.in_flight).try_acquire_owned().ok()?;
        Some(Answer { served: Arc::clone(&entry.served), frame, _room: [of_port, of_node] })
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<u32, Entry>> {
        // Nothing is left half done while the lock is held.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dhcpv4(lease: Option<&v4::Lease>, frame: &[u8]) -> Exchange {
    let Some(lease) = lease else { return Exchange::unserved("dhcpv4 without lease".to_owned()) };
    match v4::answer(lease, frame) {
        Outcome::Reply(reply) => Exchange {
            said: format!("{} -> {}", reply.to.as_str(), reply.message.as_str()),
            address: reply.asked,
            left_out: reply.left_out,
            frame: Some(reply.frame),
            notable: true,
        },
        Outcome::Event(event) => Exchange {
            said: event.as_str().to_owned(),
            address: match event {
                Event::Declined { address } => address,
                Event::Released { address } => Some(address),
            },
            notable: true,
            ..Exchange::default()
        },
        Outcome::Silent(silence) => Exchange::unserved(format!("silent {}", silence.as_str())),
    }
}

/// Tells the guest the MTU. Not worth a line in the log: a guest that ignores its lease's MTU causes one per path.
fn too_big(guest: &Guest, frame: &[u8], tag: u32) -> Exchange {
    let gateways: Vec<IpAddr> = guest.routes.iter().rev().filter_map(|route| route.gateway).collect();
    match path_mtu::answer(frame, guest.mtu, &gateways) {
        Ok(mut reply) => {
            if tag & TAGGED != 0 {
                path_mtu::put_tag(&mut reply, tag as u16);
            }
            Exchange { said: "too_big -> mtu".to_owned(), frame: Some(reply), ..Exchange::default() }
        }
        Err(silence) => Exchange::unserved(format!("too_big silent {}", silence.as_str())),
    }
}

impl Exchange {
    /// A frame that is not answered, by its name in the counters.
    fn unserved(said: String) -> Self {
        Self { said, ..Self::default() }
    }

    /// `told` is how many exchanges went unmentioned before this one; `None` when this one is one of them.
    fn log(&self, port: &PortId, told: Option<u64>) {
        let Self { said, address, left_out, .. } = self;
        match told {
            Some(unmentioned) => info!(%port, %said, ?address, ?left_out, unmentioned, "guest spoke"),
            None => debug!(%port, %said, ?address, ?left_out, "guest spoke"),
        }
    }
}

impl Answer {
    async fn send(self) {
        let port = self.served.port.clone();
        if let Err(error) = deliver(&self.served, self.frame).await {
            debug!(%port, error = format!("{:#}", anyhow::Error::from(error)), "answer lost");
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

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use etherparse::PacketBuilder;

    use super::*;
    use crate::core::{hand_off::HandOff, ids::MacAddr, pod::Dns};

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

    fn served(port: &str) -> Served {
        Served {
            port: port.parse().unwrap(),
            // Answers get no further than here.
            netns: "/run/netns/not-there".into(),
            netns_id: NetnsId { dev: 0, ino: 0 },
            tap_ifindex: 1,
            guest: Guest {
                mac: MAC,
                addresses: vec!["10.0.0.2/24".parse().unwrap()],
                routes: Vec::new(),
                dns: Dns::default(),
                hostname: None,
                mtu: 1500,
                hand_off: HandOff::default(),
                routers: Vec::new(),
            },
        }
    }

    /// A client's message of this type (option 53).
    fn message(slot: u32, message_type: u8) -> Punted {
        let mut message = vec![1, 1, 6, 0];
        message.resize(28, 0);
        message.extend(MAC.0);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99, 53, 1, message_type, 255]);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MAC.0, [0xff; 6])
            .ipv4([0; 4], [0xff; 4], 64)
            .udp(68, 67)
            .write(&mut frame, &message)
            .unwrap();
        let mut punted = Punted::zeroed();
        punted.slot = slot;
        punted.kind = PuntKind::Dhcpv4 as u32;
        punted.len = u32::try_from(frame.len()).unwrap();
        punted.frame[..frame.len()].copy_from_slice(&frame);
        punted
    }

    fn count(service: &Service, slot: u32, said: &str) -> u64 {
        service.dialogue(slot).messages.get(said).copied().unwrap_or_default()
    }

    const DISCOVER: u8 = 1;
    const RELEASE: u8 = 7;

    #[tokio::test]
    async fn a_flood_takes_no_answers_from_other_guests() {
        let service = Service::new(Duration::from_secs(3600));
        service.serve(0, served("7-eth0"));
        service.serve(1, served("8-eth0"));
        // On this runtime of one thread no answer is sent before the test waits.
        for _ in 0..100 {
            service.take(&message(0, DISCOVER));
        }
        service.take(&message(1, DISCOVER));
        assert_eq!(count(&service, 0, "discover -> offer"), ANSWERS_PER_PORT as u64);
        assert_eq!(count(&service, 0, "dropped busy"), 100 - ANSWERS_PER_PORT as u64);
        assert_eq!(count(&service, 1, "discover -> offer"), 1);
        assert_eq!(service.dialogue(0).last, "discover -> offer");
        assert_eq!(service.in_flight.available_permits(), ANSWERS_IN_FLIGHT - ANSWERS_PER_PORT - 1);

        // What was sent makes room.
        tokio::time::timeout(Duration::from_secs(10), async {
            while service.in_flight.available_permits() < ANSWERS_IN_FLIGHT {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        service.take(&message(0, DISCOVER));
        assert_eq!(count(&service, 0, "discover -> offer"), ANSWERS_PER_PORT as u64 + 1);
    }

    #[tokio::test]
    async fn a_dialogue_outlives_a_change_and_not_its_port() {
        let service = Service::new(Duration::from_secs(3600));
        service.serve(0, served("7-eth0"));
        service.take(&message(0, RELEASE));
        service.serve(0, Served { tap_ifindex: 2, ..served("7-eth0") });
        assert_eq!(count(&service, 0, "release"), 1);
        assert_eq!(service.dialogue(0).last, "", "a release is not answered");
        service.serve(0, served("8-eth0"));
        assert_eq!(service.dialogue(0), Dialogue::default());
        assert!(service.serving(0, &"7-eth0".parse().unwrap()).is_none());
        service.stop(0);
        service.take(&message(0, DISCOVER));
        assert_eq!(service.dialogue(0), Dialogue::default());
    }
}
