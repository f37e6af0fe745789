// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counting losses exactly: numbered UDP datagrams at a steady rate to an echo, and who came back how often.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{setsockopt, sockopt};
use serde::Serialize;

use crate::{interrupt, netns::Netns};

/// Datagram: flood's number, sequence number (both big endian), then zeros.
const HEADER: usize = 16;
const PAYLOAD: usize = 64;
/// Holds seconds of traffic: the counter must not lose what the path delivered.
const RECEIVE_BUFFER: usize = 8 << 20;
const TICK: Duration = Duration::from_millis(50);
/// How long stragglers are waited for.
const DRAIN: Duration = Duration::from_secs(2);

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Datagrams the kernel took from the sender.
    pub sent: u64,
    /// Different datagrams that came back.
    pub received: u64,
    /// Those that never came back.
    pub lost: u64,
    /// Copies beyond the first.
    pub duplicated: u64,
    /// Sends that the kernel refused; not among `sent`.
    pub refused: u64,
}

/// A running flood. Dropping it ends its threads.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    sender: Option<thread::JoinHandle<Sent>>,
    receiver: Option<thread::JoinHandle<Vec<u32>>>,
    sent: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    sent: u64,
    refused: u64,
}

impl Flood {
    /// Sends `per_second` datagrams a second from `netns` to an echo at `target`.
    pub fn start(netns: &Netns, target: SocketAddr, per_second: u32) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = u64::from(process::id()) << 32 | u64::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = socket(netns, any(target, 0))?;
        socket.connect(target).with_context(|| format!("cannot reach {target}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sender = {
            let socket = socket.try_clone().context("cannot duplicate the socket")?;
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || send(&socket, number, per_second, &stop, &sent))
        };
        let receiver = {
            let (stop, sent, received) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&received));
            thread::spawn(move || receive(&socket, number, &stop, &sent, &received))
        };
        Ok(Self { stop, received, sender: Some(sender), receiver: Some(receiver), sent })
    }

    /// Datagrams sent and returned so far.
    pub fn so_far(&self) -> (u64, u64) {
        (self.sent.load(Ordering::SeqCst), self.received.load(Ordering::SeqCst))
    }

    /// Stops sending, waits for stragglers, and counts.
    pub fn stop(mut self) -> Result<Counted> {
        let seen = self.end().ok_or_else(|| anyhow!("a thread of the flood panicked"))?;
        Ok(count(seen.0, &seen.1))
    }

    fn end(&mut self) -> Option<(Sent, Vec<u32>)> {
        self.stop.store(true, Ordering::SeqCst);
        let sent = self.sender.take()?.join().ok()?;
        let seen = self.receiver.take()?.join().ok()?;
        Some((sent, seen))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}

/// `seen`: how often each sequence number came back.
fn count(Sent { sent, refused }: Sent, seen: &[u32]) -> Counted {
    let received = seen.iter().filter(|times| **times > 0).count() as u64;
    let duplicated = seen.iter().map(|times| u64::from(times.saturating_sub(1))).sum();
    Counted { sent, received, lost: sent.saturating_sub(received), duplicated, refused }
}

fn send(socket: &UdpSocket, number: u64, per_second: u32, stop: &AtomicBool, sent: &AtomicU64) -> Sent {
    let interval = Duration::from_secs(1) / per_second.max(1);
    let mut due = Instant::now();
    let mut refused = 0;
    let mut sequence: u64 = 0;
    let mut datagram = [0u8; PAYLOAD];
    datagram[..8].copy_from_slice(&number.to_be_bytes());
    while !stop.load(Ordering::SeqCst) && !interrupt::requested() {
        datagram[8..HEADER].copy_from_slice(&sequence.to_be_bytes());
        // Counted before it is sent: `so_far` never shows more returned than sent.
        sent.fetch_add(1, Ordering::SeqCst);
        if socket.send(&datagram).is_ok() {
            sequence += 1;
        } else {
            sent.fetch_sub(1, Ordering::SeqCst);
            refused += 1;
        }
        due += interval;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Sent { sent: sequence, refused }
}

fn receive(
    socket: &UdpSocket,
    number: u64,
    stop: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
) -> Vec<u32> {
    let mut seen: Vec<u32> = Vec::new();
    let mut buffer = [0u8; 2048];
    let mut stopped = None;
    loop {
        if stop.load(Ordering::SeqCst) {
            let since = *stopped.get_or_insert_with(Instant::now);
            let all = received.load(Ordering::SeqCst) >= sent.load(Ordering::SeqCst);
            // One more tick after the last one, for duplicates and for a datagram being sent just now.
            if since.elapsed() >= if all { 2 * TICK } else { DRAIN } {
                return seen;
            }
        }
        // ICMP errors of earlier datagrams show up here: those are counted as lost.
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let Some(sequence) = sequence_of(buffer.get(..length).unwrap_or_default(), number) else { continue };
        // Not more than were sent: a foreign number must not make us allocate.
        if sequence >= sent.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(index) = usize::try_from(sequence) else { continue };
        if seen.len() <= index {
            seen.resize(index + 1, 0);
        }
        if let Some(times) = seen.get_mut(index) {
            *times += 1;
            if *times == 1 {
                received.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

fn sequence_of(datagram: &[u8], number: u64) -> Option<u64> {
    let (head, rest) = datagram.split_first_chunk::<8>()?;
    let sequence = rest.first_chunk::<8>()?;
    (datagram.len() == PAYLOAD && u64::from_be_bytes(*head) == number).then(|| u64::from_be_bytes(*sequence))
}

/// An echo for floods to stand-in guests; it counts what arrives at its end.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    arrived: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    /// Echoes all datagrams to `address` in `netns`.
    pub fn start(netns: &Netns, address: SocketAddr) -> Result<Self> {
        let socket = socket(netns, address)?;
        let (stop, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, arrived) = (Arc::clone(&stop), Arc::clone(&arrived));
            thread::spawn(move || {
                let mut buffer = vec![0u8; 65_536];
                while !stop.load(Ordering::SeqCst) {
                    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        // What cannot be sent back is missed by the flood.
                        socket.send_to(buffer.get(..length).unwrap_or_default(), from).ok();
                    }
                }
            })
        };
        Ok(Self { stop, arrived, thread: Some(thread) })
    }

    /// Datagrams that arrived so far.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A socket that belongs to `netns` whichever thread uses it, with a receive buffer beyond the machine's limit.
fn socket(netns: &Netns, address: SocketAddr) -> Result<UdpSocket> {
    let socket = netns
        .run_inside(|| UdpSocket::bind(address))?
        .with_context(|| format!("cannot bind {address} in {}", netns.name()))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .context("cannot enlarge the receive buffer")?;
    match socket.set_read_timeout(Some(TICK)) {
        Err(error) if error.kind() != ErrorKind::InvalidInput => {
            Err(error).context("cannot set a read timeout")
        }
        _ => Ok(socket),
    }
}

fn any(like: SocketAddr, port: u16) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_gaps_tails_and_copies() {
        // Number 1 lost, 3 came twice, 4 and 5 (the last two of six) never came.
        let counted = count(Sent { sent: 6, refused: 1 }, &[1, 0, 1, 2]);
        assert_eq!(counted, Counted { sent: 6, received: 3, lost: 3, duplicated: 1, refused: 1 });
    }

    #[test]
    fn only_its_own_datagrams_count() {
        let mut datagram = [0u8; PAYLOAD];
        datagram[7] = 9;
        datagram[15] = 5;
        assert_eq!(sequence_of(&datagram, 9), Some(5));
        assert_eq!(sequence_of(&datagram, 8), None);
        assert_eq!(sequence_of(&datagram[..20], 9), None);
    }
}
