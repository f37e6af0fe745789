// SPDX-License-Identifier: MIT OR Apache-2.0
//! Node -> VM: one thread sends on the host peer, another one empties the tap's ring on another CPU.

use std::{
    io,
    mem::zeroed,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use netagent_tests::{
    affinity::pin,
    interrupt,
    tap::{FRAME_MAX, Tap, VNET_HEADER},
    topology::HOST_LINK,
};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{setsockopt, sockopt},
    unistd::read,
};

use super::{
    Cpus, PATIENCE, Sample, Slices, Switches, WARM_UP,
    frame::{self, Frame},
    nanoseconds, pinned, settle,
};
use crate::bench::{
    bpf::attach::ifindex,
    scene::{Scene, ToVmEnd},
};

/// Small frames in the ring above which the sender waits for the reader: half of the ring of a tap (txqueuelen 1000,
/// of some makers 500). A full ring drops, and dropping is cheap.
const IN_FLIGHT: u64 = 256;
/// More than all frames in flight take: a sender that sleeps until there is room measures the scheduler.
const SEND_BUFFER: usize = 16 << 20;

/// Sends `count` times `bytes` and takes the time.
pub(in crate::bench) fn sample(scene: &Scene, cpus: Cpus, frame: Frame, count: u64) -> Result<Sample> {
    let socket = PacketSocket::open(scene, frame)?;
    let bytes = wire_bytes(frame, scene);
    match &scene.to_vm {
        ToVmEnd::Sink(sink) => {
            pinned(cpus.load, || send(&socket, &bytes, frame, count, || sink.counter.read()))
        }
        ToVmEnd::Ring => {
            let ring = Ring { tap: &scene.tap, drained: AtomicU64::new(0), stop: AtomicBool::new(false) };
            thread::scope(|scope| {
                let reader = scope.spawn(|| ring.drain(cpus.drain));
                let drained = || Ok(ring.drained.load(Ordering::Acquire));
                let sample = pinned(cpus.load, || send(&socket, &bytes, frame, count, drained));
                ring.stop.store(true, Ordering::Release);
                reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                sample
            })
        }
    }
}

/// What one message of the socket carries.
fn wire_bytes(frame: Frame, scene: &Scene) -> Vec<u8> {
    let mut bytes = if frame.needs_vnet_header() { frame.vnet_header().to_vec() } else { Vec::new() };
    bytes.extend(frame.bytes(scene.gateway_to_guest()));
    bytes
}

fn send(
    socket: &PacketSocket,
    bytes: &[u8],
    frame: Frame,
    count: u64,
    mut arrived: impl FnMut() -> Result<u64>,
) -> Result<Sample> {
    let mut batch = Batch::new(bytes, frame.batch());
    let start = arrived()?;
    let limit = IN_FLIGHT / frame.weight();
    let enough = WARM_UP / frame.weight();
    let mut warm_up = Window { limit, base: start, sent: 0 };
    while warm_up.sent < enough && warm_up.wait(&mut arrived)? {
        warm_up.sent += batch.send(socket, enough - warm_up.sent)?;
    }
    let base = settle(start + enough, &mut arrived)?;
    if base < start + enough {
        return Ok(Sample::of_lost_warm_up(enough, base - start));
    }

    let switches = Switches::now()?;
    let mut window = Window { limit, base, sent: 0 };
    let mut slices = Slices::of(frame);
    let mut waited_ns = 0;
    while window.sent < count {
        let waiting = Instant::now();
        if !window.wait(&mut arrived)? {
            break;
        }
        let started = Instant::now();
        let sent = batch.send(socket, count - window.sent)?;
        slices.add(sent, nanoseconds(started.elapsed()));
        window.sent += sent;
        waited_ns += nanoseconds(started.duration_since(waiting));
    }
    let switches = Switches::now()?.since(switches);
    let sent = window.sent;
    let arrived = settle(base + sent, arrived)?.saturating_sub(base);
    Ok(Sample {
        sent,
        arrived,
        ns: slices.total_ns,
        slice_ns: slices.median(),
        waited_ns,
        preempted: switches.involuntary,
        slept: switches.voluntary,
    })
}

/// How far the sender is ahead of the reader.
struct Window {
    /// By how much at most.
    limit: u64,
    base: u64,
    sent: u64,
}

impl Window {
    /// Waits until the reader has caught up; `false` when frames must be lost.
    fn wait(&self, arrived: &mut impl FnMut() -> Result<u64>) -> Result<bool> {
        let target = (self.base + self.sent).saturating_sub(self.limit);
        let started = Instant::now();
        while arrived()? < target {
            if started.elapsed() >= PATIENCE {
                return Ok(false);
            }
            interrupt::check()?;
            std::hint::spin_loop();
        }
        Ok(true)
    }
}

/// The guest's end of the tap, and who reads it.
struct Ring<'a> {
    tap: &'a Tap,
    drained: AtomicU64,
    stop: AtomicBool,
}

impl Ring<'_> {
    /// Reads until told to stop, without sleeping: a wake-up for each frame would be paid by the sender.
    fn drain(&self, cpu: usize) -> Result<()> {
        pin(cpu)?;
        let mut buffer = vec![0; FRAME_MAX];
        while !self.stop.load(Ordering::Acquire) {
            match read(self.tap.as_fd(), &mut buffer) {
                Ok(length) => {
                    if frame::is_ours(buffer.get(VNET_HEADER..length).unwrap_or_default()) {
                        // Nobody else writes it.
                        let drained = self.drained.load(Ordering::Relaxed);
                        self.drained.store(drained + 1, Ordering::Release);
                    }
                }
                Err(Errno::EAGAIN) => std::hint::spin_loop(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot read from the tap"),
            }
        }
        Ok(())
    }
}

/// A raw socket on the host peer that sends and never receives.
struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    fn open(scene: &Scene, frame: Frame) -> Result<Self> {
        let node = &scene.wired.topology.node;
        let index = ifindex(node, HOST_LINK)?;
        let fd = node
            .run_inside(|| Self::open_here(index))?
            .with_context(|| format!("cannot open a packet socket on {HOST_LINK} in {}", node.name()))?;
        setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER).context("cannot enlarge the send buffer")?;
        if frame.needs_vnet_header() {
            expect_vnet_headers(&fd).context("cannot set PACKET_VNET_HDR on a packet socket")?;
        }
        Ok(Self { fd })
    }

    /// Protocol 0: nothing is received, so nothing is copied for us.
    fn open_here(index: u32) -> io::Result<OwnedFd> {
        let mut address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: i32::try_from(index).unwrap_or(i32::MAX),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        #[expect(unsafe_code, reason = "nix opens no packet socket that is deaf")]
        // SAFETY: no memory is involved.
        let number = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        #[expect(unsafe_code, reason = "the descriptor comes from a system call")]
        // SAFETY: the kernel has just made it for us; nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        #[expect(unsafe_code, reason = "the kernel reads the address through a pointer")]
        // SAFETY: `address` has the size given and outlives the call.
        let bound = unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw mut address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
    }
}

/// From here on every frame has its virtio header before it, packet(7).
fn expect_vnet_headers(fd: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    #[expect(unsafe_code, reason = "nix does not know this option")]
    // SAFETY: the value is an int, of the size given, and outlives the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_VNET_HDR,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Many times the same frame for one `sendmmsg`.
struct Batch {
    messages: Vec<libc::mmsghdr>,
    // The messages point to it, and it to the frame.
    _vector: Box<libc::iovec>,
    _bytes: Box<[u8]>,
}

impl Batch {
    fn new(bytes: &[u8], count: usize) -> Self {
        let mut bytes: Box<[u8]> = bytes.into();
        let mut vector = Box::new(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
        let messages = (0..count)
            .map(|_| {
                #[expect(unsafe_code, reason = "the struct has padding that differs between C libraries")]
                // SAFETY: all zero is a valid mmsghdr: null pointers and zero lengths.
                let mut message: libc::mmsghdr = unsafe { zeroed() };
                message.msg_hdr.msg_iov = &raw mut *vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        Self { messages, _vector: vector, _bytes: bytes }
    }

    /// Sends one batch, at most `most` frames; gives how many the kernel took. A frame that it drops for want of room
    /// counts among them: it is missed at the end.
    fn send(&mut self, socket: &PacketSocket, most: u64) -> Result<u64> {
        let count = self.messages.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        #[expect(unsafe_code, reason = "nix wraps sendmmsg for addresses it can build only")]
        // SAFETY: `count` messages are there, each with one vector that points to the frame; all outlive the call.
        let sent = unsafe {
            libc::sendmmsg(socket.fd.as_raw_fd(), self.messages.as_mut_ptr(), count as libc::c_uint, 0)
        };
        match u64::try_from(sent) {
            Ok(sent) => Ok(sent),
            Err(_) => match Errno::last() {
                Errno::ENOBUFS => Ok(1),
                error => Err(error).with_context(|| format!("cannot send on {HOST_LINK}")),
            },
        }
    }
}
