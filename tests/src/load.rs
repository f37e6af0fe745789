// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tens of thousands of datagrams a second, both ways through a port, every one of them counted at both ends.
//!
//! One way each: the guest's end is the tap itself, opened as a VMM does, and the node's end a socket. What waits
//! between them has room for seconds of traffic, so that what is missing in the end was lost on the path.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{setsockopt, sockopt},
};

use crate::{
    flood::Counted,
    interrupt,
    tap::{FRAME_MAX, Offloads, Tap, TapSpec, VNET_HEADER, wait_readable},
    topology::{GATEWAY4, POD4, Topology},
};

/// The load's number and a sequence number, both big endian.
const PAYLOAD: usize = 16;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const PORT: u16 = 7100;
/// Frames that the tap holds for a reader that is not scheduled.
const TAP_QUEUE: u32 = 300_000;
const RECEIVE_BUFFER: usize = 256 << 20;
/// How often a sender sends what is due.
const BEAT: Duration = Duration::from_micros(500);
/// A sender that is further behind lets it be: a burst would measure queues.
const MOST_BEHIND: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(50);
/// How long stragglers are waited for.
const DRAIN: Duration = Duration::from_secs(5);

/// What a load came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// From the tap to the node.
    pub from_vm: Counted,
    /// From the node to the tap.
    pub to_vm: Counted,
    /// Every frame that came out of the tap, the load's and others'.
    pub read: u64,
    /// For how long it was sent.
    pub time: Duration,
}

impl Carried {
    /// Packets a second of both ways together.
    pub fn rate(&self) -> f64 {
        (self.from_vm.sent + self.to_vm.sent) as f64 / self.time.as_secs_f64()
    }
}

/// A running load. Dropping it ends its threads.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    started: Instant,
    from_vm: Way,
    to_vm: Way,
    read: Arc<AtomicU64>,
}

/// One direction: counts that both ends share, and the ends.
#[derive(Debug, Default)]
struct Way {
    count: Arc<Count>,
    sender: Option<thread::JoinHandle<()>>,
    receiver: Option<thread::JoinHandle<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Count {
    sent: AtomicU64,
    refused: AtomicU64,
    received: AtomicU64,
}

impl Load {
    /// Sends `per_second` datagrams a second each way through the tap, whose only user this is.
    ///
    /// IPv6 is taken off the devices and the guest's address pinned to its MAC, so that nothing but the load passes.
    pub fn start(topology: &Topology, tap: &str, per_second: u32) -> Result<Self> {
        let (node, pod) = (&topology.node, &topology.pod);
        pod.ip(&format!("link set {tap} txqueuelen {TAP_QUEUE}"))?;
        let device = Arc::new(Tap::open(pod, tap, TapSpec { offloads: Offloads::Off, multi_queue: false })?);
        fcntl(&*device, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot make the tap non-blocking")?;
        let number = u64::from(process::id()) << 32;
        let socket = |address: Ipv4Addr| node.run_inside(|| UdpSocket::bind((address, PORT)));
        let receiver = socket(GATEWAY4)?.context("cannot bind the load's receiver")?;
        setsockopt(&receiver, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .context("cannot enlarge the receive buffer")?;
        receiver.set_read_timeout(Some(TICK)).context("cannot set a read timeout")?;
        let sender = node.run_inside(|| UdpSocket::bind((GATEWAY4, 0)))?.context("cannot bind the sender")?;
        sender.connect(SocketAddr::from((POD4, PORT))).context("cannot reach the pod")?;
        let frame = frame(&topology.pod_mac()?, &topology.host_mac()?, number + 1)?;

        let stop = Arc::new(AtomicBool::new(false));
        let (mut from_vm, mut to_vm) = (Way::default(), Way::default());
        let read = Arc::new(AtomicU64::new(0));
        to_vm.receiver = Some({
            let (stop, count, tap, read) =
                (Arc::clone(&stop), Arc::clone(&to_vm.count), Arc::clone(&device), Arc::clone(&read));
            thread::spawn(move || drain_tap(&tap, number, &stop, &count, &read))
        });
        from_vm.receiver = Some({
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&from_vm.count));
            thread::spawn(move || drain_socket(&receiver, number + 1, &stop, &count))
        });
        to_vm.sender = Some({
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&to_vm.count));
            let mut payload = [0; PAYLOAD];
            payload[..8].copy_from_slice(&number.to_be_bytes());
            thread::spawn(move || {
                pace(per_second, &stop, &count, |sequence| {
                    payload[8..].copy_from_slice(&sequence.to_be_bytes());
                    sender.send(&payload).is_ok()
                });
            })
        });
        from_vm.sender = Some({
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&from_vm.count));
            let mut frame = frame;
            let end = frame.len() - 8;
            thread::spawn(move || {
                pace(per_second, &stop, &count, |sequence| {
                    frame[end..].copy_from_slice(&sequence.to_be_bytes());
                    device.write(&frame).is_ok()
                });
            })
        });
        Ok(Self { stop, started: Instant::now(), from_vm, to_vm, read })
    }

    /// Datagrams that arrived so far: at the node, at the tap.
    pub fn arrived(&self) -> (u64, u64) {
        let arrived = |way: &Way| way.count.received.load(Ordering::SeqCst);
        (arrived(&self.from_vm), arrived(&self.to_vm))
    }

    /// Stops sending, waits for stragglers, and counts.
    pub fn stop(mut self) -> Result<Carried> {
        self.stop.store(true, Ordering::SeqCst);
        let time = self.started.elapsed();
        let panicked = || anyhow!("a thread of the load panicked");
        Ok(Carried {
            from_vm: self.from_vm.end().ok_or_else(panicked)?,
            to_vm: self.to_vm.end().ok_or_else(panicked)?,
            read: self.read.load(Ordering::SeqCst),
            time,
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.from_vm.end();
        self.to_vm.end();
    }
}

impl Way {
    fn end(&mut self) -> Option<Counted> {
        self.sender.take()?.join().ok()?;
        let seen = self.receiver.take()?.join().ok()?;
        let sent = self.count.sent.load(Ordering::SeqCst);
        let received = seen.iter().filter(|times| **times > 0).count() as u64;
        Some(Counted {
            sent,
            received,
            lost: sent.saturating_sub(received),
            duplicated: seen.iter().map(|times| u64::from(times.saturating_sub(1))).sum(),
            refused: self.count.refused.load(Ordering::SeqCst),
        })
    }
}

/// Calls `send` with ever higher numbers at a rate, until it is stopped; one that is refused is tried again.
fn pace(per_second: u32, stop: &AtomicBool, count: &Count, mut send: impl FnMut(u64) -> bool) {
    let most_behind = (f64::from(per_second) * MOST_BEHIND.as_secs_f64()) as u64;
    let mut sequence: u64 = 0;
    let (mut since, mut base) = (Instant::now(), 0);
    while !stop.load(Ordering::SeqCst) && !interrupt::requested() {
        let due = base + (since.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        if due.saturating_sub(sequence) > most_behind {
            (since, base) = (Instant::now(), sequence);
            continue;
        }
        while sequence < due {
            // Before it is sent: a receiver takes no number that was not sent yet.
            count.sent.store(sequence + 1, Ordering::SeqCst);
            if send(sequence) {
                sequence += 1;
            } else {
                count.sent.store(sequence, Ordering::SeqCst);
                count.refused.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        thread::sleep(BEAT);
    }
}

/// Reads the node's end; how often each number came.
fn drain_socket(socket: &UdpSocket, number: u64, stop: &AtomicBool, count: &Count) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut buffer = [0; 2048];
    let mut waiting = Waiting::default();
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => note(&mut seen, buffer.get(..length), number, count),
            // A time-out: nothing is on its way, or all of it is.
            Err(_) if waiting.is_over(stop, count) => return seen,
            Err(_) => {}
        }
    }
}

/// Reads the guest's end; how often each number came.
fn drain_tap(tap: &Tap, number: u64, stop: &AtomicBool, count: &Count, read: &AtomicU64) -> Vec<u8> {
    const HEADERS: usize = VNET_HEADER + ETHERNET + IPV4 + UDP;
    let mut seen = Vec::new();
    let mut buffer = vec![0; FRAME_MAX];
    let mut waiting = Waiting::default();
    loop {
        if let Ok(length) = tap.read(&mut buffer) {
            read.fetch_add(1, Ordering::SeqCst);
            note(&mut seen, buffer.get(HEADERS..length), number, count);
            continue;
        }
        let ready = wait_readable(&[std::os::fd::AsFd::as_fd(tap)], Some(TICK));
        let idle = !ready.is_ok_and(|ready| ready.contains(&true));
        if idle && waiting.is_over(stop, count) {
            return seen;
        }
    }
}

/// How long a receiver waits for what is still on its way.
#[derive(Default)]
struct Waiting(Option<Instant>);

impl Waiting {
    /// Asked only when nothing came for a tick.
    fn is_over(&mut self, stop: &AtomicBool, count: &Count) -> bool {
        if !stop.load(Ordering::SeqCst) {
            return false;
        }
        let since = *self.0.get_or_insert_with(Instant::now);
        let all = count.received.load(Ordering::SeqCst) >= count.sent.load(Ordering::SeqCst);
        // One tick more after the last one, for duplicates.
        since.elapsed() >= if all { TICK } else { DRAIN }
    }
}

fn note(seen: &mut Vec<u8>, payload: Option<&[u8]>, number: u64, count: &Count) {
    let Some((head, rest)) = payload.and_then(|payload| payload.split_first_chunk::<8>()) else { return };
    let Ok(sequence) = rest.try_into().map(u64::from_be_bytes) else { return };
    // Not more than were sent: a foreign number must not make us allocate.
    if u64::from_be_bytes(*head) != number || sequence >= count.sent.load(Ordering::SeqCst) {
        return;
    }
    let Ok(index) = usize::try_from(sequence) else { return };
    if seen.len() <= index {
        seen.resize(index + 1, 0);
    }
    if let Some(times) = seen.get_mut(index) {
        *times = times.saturating_add(1);
        if *times == 1 {
            count.received.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A datagram from the guest to the node behind an empty vnet header; its last 8 bytes are the sequence number.
fn frame(guest: &str, node: &str, number: u64) -> Result<Vec<u8>> {
    const LENGTH: u16 = (IPV4 + UDP + PAYLOAD) as u16;
    let mut frame = vec![0; VNET_HEADER];
    frame.extend(mac(node)?);
    frame.extend(mac(guest)?);
    frame.extend([8, 0]);
    let mut ip = [0u8; IPV4];
    (ip[0], ip[6], ip[8], ip[9]) = (0x45, 0x40, 64, 17);
    ip[2..4].copy_from_slice(&LENGTH.to_be_bytes());
    ip[12..16].copy_from_slice(&POD4.octets());
    ip[16..20].copy_from_slice(&GATEWAY4.octets());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let checksum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
    // RFC 768: a checksum of zero is none.
    for field in [PORT, PORT, (UDP + PAYLOAD) as u16, 0] {
        frame.extend(field.to_be_bytes());
    }
    frame.extend(number.to_be_bytes());
    frame.extend([0; 8]);
    Ok(frame)
}

fn mac(text: &str) -> Result<Vec<u8>> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    bytes.with_context(|| format!("`{text}` is not a MAC address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_its_own_numbers_once_each() {
        let count = Count::default();
        count.sent.store(4, Ordering::SeqCst);
        let mut seen = Vec::new();
        let payload = |number: u64, sequence: u64| [number.to_be_bytes(), sequence.to_be_bytes()].concat();
        for (number, sequence) in [(9, 0), (9, 3), (9, 3), (8, 1), (9, 4)] {
            note(&mut seen, Some(&payload(number, sequence)), 9, &count);
        }
        note(&mut seen, Some(&[0; 15]), 9, &count);
        assert_eq!((seen.as_slice(), count.received.load(Ordering::SeqCst)), (&[1, 0, 0, 2][..], 2));
        let mut way = Way { count: Arc::new(count), ..Way::default() };
        way.sender = Some(thread::spawn(|| {}));
        way.receiver = Some(thread::spawn(move || seen));
        let counted = way.end().unwrap();
        assert_eq!((counted.sent, counted.received, counted.lost, counted.duplicated), (4, 2, 2, 1));
    }

    #[test]
    fn the_frame_s_checksum_is_right() {
        let frame = frame("02:00:00:00:00:01", "02:00:00:00:00:02", 7).unwrap();
        assert_eq!(frame.len(), VNET_HEADER + ETHERNET + IPV4 + UDP + PAYLOAD);
        let ip = &frame[VNET_HEADER + ETHERNET..][..IPV4];
        let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
