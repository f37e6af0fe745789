// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packet sockets in the pods' namespaces, each open for as long as its guest speaks.
//!
//! An open socket keeps a deleted pod's namespace alive, but to open one takes a thread that enters the namespace, and
//! to close one takes a grace period of RCU (`synchronize_net` in `packet_release`, net/packet/af_packet.c): a dozen
//! milliseconds. So a socket serves a whole exchange, and is closed by those who have time.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::debug;

use super::{
    crew::{Crew, Strength},
    outlet::{Outlet, Tap, Words},
};
use crate::sys::{
    netns::{Netns, NetnsError, Traveller},
    open_files,
    packet_socket::PacketSocket,
};

/// A socket that was not used for this long is closed. A boot's messages follow each other within a second.
const IDLE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_secs(1);
/// Answers that wait for a socket to open: one of each protocol that a boot speaks.
const WAITING: usize = 4;
/// Two open them as fast as the servers can answer; a namespace that cannot be entered keeps one thread.
const OPENERS: Strength = Strength { usual: 2, most: 64 };
/// Grace periods are shared by all who wait for one.
const CLOSERS: Strength = Strength { usual: 32, most: 32 };
/// Sockets that are open at one time: of all the ports that a node can have.
const MOST_OPEN: usize = netagent_common::maps::MAX_PORTS as usize;

/// A port's way to its tap.
#[derive(Debug, Default)]
pub(super) enum Line {
    #[default]
    Closed,
    /// With what goes out when it is open.
    Opening(Vec<Words>),
    Open {
        socket: PacketSocket,
        used: Instant,
    },
    /// Never again.
    Left,
}

/// An answer that did not reach the tap.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("the namespace at this path is another one now")]
    OtherNetns,
    #[error("open a packet socket")]
    Socket(#[source] io::Error),
}

/// Sends by packet sockets.
#[derive(Debug)]
pub(super) struct Lines {
    openers: Crew<Arc<Tap>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Taps with an open socket, the oldest first; also such whose line was closed meanwhile.
    open: Mutex<VecDeque<Arc<Tap>>>,
    most_open: usize,
    closers: Crew<PacketSocket>,
    /// Told when [`Lines::rest`] has work where it had none.
    wake: Arc<Notify>,
    /// Whether it comes again by itself.
    resting: AtomicBool,
}

impl Lines {
    /// `wake` is told when [`rest`](Outlet::rest) is worth a call.
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        // Half, for all else that the agent opens.
        let most_open = MOST_OPEN.min(open_files::raise_limit() / 2);
        let closers = Crew::new("close", CLOSERS, |_, socket| drop(socket));
        let resting = AtomicBool::new(false);
        let shared = Arc::new(Shared { open: Mutex::default(), most_open, closers, wake, resting });
        let opener = Arc::clone(&shared);
        Self { openers: Crew::new("netns", OPENERS, move |t, tap| opener.open_line(t, &tap)), shared }
    }
}

impl Outlet for Lines {
    fn send(&self, tap: &Arc<Tap>, words: Words) -> bool {
        match &mut *tap.line() {
            Line::Open { socket, used } => {
                *used = Instant::now();
                put(tap, socket, &words);
                return true;
            }
            Line::Left => return true,
            Line::Opening(waiting) if waiting.len() >= WAITING => return false,
            Line::Opening(waiting) => {
                waiting.push(words);
                return true;
            }
            closed @ Line::Closed => *closed = Line::Opening(vec![words]),
        }
        self.openers.put(Arc::clone(tap));
        // For the case that all who open are stuck.
        self.shared.rest_later();
        true
    }

    fn leave(&self, tap: &Tap) {
        self.shared.close(tap, Line::Left);
    }

    fn rest(&self, now: Instant) -> Option<Instant> {
        // Before anything is looked at: what comes behind the look calls again.
        self.shared.resting.store(false, Ordering::SeqCst);
        let waiting = self.openers.look();
        let closing = self.shared.closers.look();
        let open = self.shared.close_idle(now);
        (waiting || closing || open).then(|| {
            self.shared.resting.store(true, Ordering::SeqCst);
            now + TICK
        })
    }
}

impl Shared {
    /// Opens the line of a tap and sends what waits for it.
    fn open_line(&self, traveller: &Traveller, tap: &Arc<Tap>) {
        let opened = open(traveller, tap);
        let mut line = tap.line();
        let socket = match (&mut *line, opened) {
            (Line::Opening(waiting), Ok(socket)) => {
                for words in waiting {
                    put(tap, &socket, words);
                }
                socket
            }
            (Line::Opening(waiting), Err(error)) => {
                tap.lost(waiting.iter().filter(|words| words.asked).count());
                *line = Line::Closed;
                let error = format!("{:#}", anyhow::Error::from(error));
                debug!(port = %tap.port, error, "answers lost");
                return;
            }
            // Left meanwhile.
            (_, Ok(socket)) => return self.closers.put(socket),
            (_, Err(_)) => return,
        };
        *line = Line::Open { socket, used: Instant::now() };
        drop(line);
        let mut open = self.open();
        open.push_back(Arc::clone(tap));
        let oldest = if open.len() > self.most_open { open.pop_front() } else { None };
        drop(open);
        if let Some(oldest) = oldest {
            self.close(&oldest, Line::Closed);
        }
        self.rest_later();
    }

    /// Closes what was not used for a while; whether something is still open.
    fn close_idle(&self, now: Instant) -> bool {
        let mut open = self.open();
        open.retain(|tap| {
            let idle = match &*tap.line() {
                Line::Open { used, .. } => now.saturating_duration_since(*used) >= IDLE,
                _ => return false,
            };
            if idle {
                self.close(tap, Line::Closed);
            }
            !idle
        });
        !open.is_empty()
    }

    fn rest_later(&self) {
        if !self.resting.swap(true, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Leaves the line as `then`, and its socket to those who wait for it to close.
    fn close(&self, tap: &Tap, then: Line) {
        let line = std::mem::replace(&mut *tap.line(), then);
        if let Line::Open { socket, .. } = line {
            self.closers.put(socket);
        }
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<Arc<Tap>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing is left half done while the lock is held.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(traveller: &Traveller, tap: &Tap) -> Result<PacketSocket, SendError> {
    let netns = Netns::open(&tap.netns)?;
    if netns.id() != tap.netns_id {
        return Err(SendError::OtherNetns);
    }
    traveller.enter(&netns)?;
    PacketSocket::open().map_err(SendError::Socket)
}

fn put(tap: &Tap, socket: &PacketSocket, words: &Words) {
    for frame in &words.frames {
        match socket.send(tap.ifindex, frame) {
            Ok(()) => {}
            // A tap that is down, or (ENOBUFS) that nobody has open or reads from.
            Err(error) if !words.asked => debug!(port = %tap.port, %error, "nobody hears"),
            Err(error) => {
                tap.lost(1);
                debug!(port = %tap.port, %error, "answer lost");
            }
        }
    }
}
