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
    interrupt,
    tap::{FRAME_MAX, Tap, VNET_HEADER},
    topology::HOST_LINK,
};
use nix::{errno::Errno, libc, unistd::read};

use super::{Cpus, PATIENCE, Sample, Slices, WARM_UP, frame, nanoseconds, pin, pinned, preemptions, settle};
use crate::bench::{
    bpf::attach::ifindex,
    scene::{Scene, ToVmEnd},
};

/// Frames per system call, so that the call itself is a small part of a frame's cost.
const BATCH: usize = 32;
/// Frames in the ring above which the sender waits for the reader: half of the ring of a tap (txqueuelen 1000, of
/// some makers 500). A full ring drops, and dropping is cheap.
const IN_FLIGHT: u64 = 256;

/// Sends `count` times `bytes` and takes the time.
pub(in crate::bench) fn sample(scene: &Scene, cpus: Cpus, bytes: &[u8], count: u64) -> Result<Sample> {
    let socket = PacketSocket::open(scene)?;
    match &scene.to_vm {
        ToVmEnd::Sink(sink) => pinned(cpus.load, || send(&socket, bytes, count, || sink.counter.read())),
        ToVmEnd::Ring => {
            let ring = Ring { tap: &scene.tap, drained: AtomicU64::new(0), stop: AtomicBool::new(false) };
            thread::scope(|scope| {
                let reader = scope.spawn(|| ring.drain(cpus.drain));
                let drained = || Ok(ring.drained.load(Ordering::Acquire));
                let sample = pinned(cpus.load, || send(&socket, bytes, count, drained));
                ring.stop.store(true, Ordering::Release);
                reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                sample
            })
        }
    }
}

fn send(
    socket: &PacketSocket,
    bytes: &[u8],
    count: u64,
    mut arrived: impl FnMut() -> Result<u64>,
) -> Result<Sample> {
    let mut batch = Batch::new(bytes);
    let start = arrived()?;
    let mut warm_up = Window { base: start, sent: 0 };
    while warm_up.sent < WARM_UP {
        warm_up.wait(&mut arrived)?;
        warm_up.sent += batch.send(socket, WARM_UP - warm_up.sent)?;
    }
    let base = settle(start + warm_up.sent, &mut arrived)?;

    let preempted = preemptions()?;
    let mut window = Window { base, sent: 0 };
    let mut slices = Slices::default();
    let mut waited_ns = 0;
    while window.sent < count {
        let waiting = Instant::now();
        window.wait(&mut arrived)?;
        let started = Instant::now();
        let sent = batch.send(socket, count - window.sent)?;
        slices.add(sent, nanoseconds(started.elapsed()));
        window.sent += sent;
        waited_ns += nanoseconds(started.duration_since(waiting));
    }
    let arrived = settle(base + count, arrived)?.saturating_sub(base);
    let preempted = preemptions()?.saturating_sub(preempted);
    Ok(Sample { sent: count, arrived, ns: slices.total_ns, slice_ns: slices.median(), waited_ns, preempted })
}

/// How far the sender is ahead of the reader.
struct Window {
    base: u64,
    sent: u64,
}

impl Window {
    /// Waits until the reader has caught up, or goes on when frames seem to be lost.
    fn wait(&self, arrived: &mut impl FnMut() -> Result<u64>) -> Result<()> {
        let target = (self.base + self.sent).saturating_sub(IN_FLIGHT);
        let started = Instant::now();
        while arrived()? < target && started.elapsed() < PATIENCE {
            interrupt::check()?;
            std::hint::spin_loop();
        }
        Ok(())
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
    fn open(scene: &Scene) -> Result<Self> {
        let node = &scene.topology.node;
        let index = ifindex(node, HOST_LINK)?;
        let fd = node
            .run_inside(|| Self::open_here(index))?
            .with_context(|| format!("cannot open a packet socket on {HOST_LINK} in {}", node.name()))?;
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

/// Many times the same frame for one `sendmmsg`.
struct Batch {
    messages: Vec<libc::mmsghdr>,
    // The messages point to it, and it to the frame.
    _vector: Box<libc::iovec>,
    _bytes: Box<[u8]>,
}

impl Batch {
    fn new(bytes: &[u8]) -> Self {
        let mut bytes: Box<[u8]> = bytes.into();
        let mut vector = Box::new(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() });
        let messages = (0..BATCH)
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
