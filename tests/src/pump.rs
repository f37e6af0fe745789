// SPDX-License-Identifier: MIT OR Apache-2.0
//! Moves frames between two taps, vnet header included: what a VMM's network thread does, and nothing else.
//!
//! A tap gives and takes one frame in each call, so a frame costs two system calls, and a thread sleeps only when there is
//! nothing left to move. io_uring would save the entries into the kernel, a small part of what the two calls do there.

use std::{
    io::ErrorKind,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::thread::JoinHandleExt as _,
    },
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    time::ClockId,
    unistd::pipe2,
};

use crate::{
    affinity::pin,
    tap::{FRAME_MAX, Tap, VNET_HEADER},
};

/// Frames after which a thread looks whether it is to end.
const BURST: usize = 64;
/// What the end of the thread is called among its events; the tap is 0.
const STOPPED: u64 = 1;

/// Whether it is a frame of some kind.
pub(crate) type Fits = fn(&[u8]) -> bool;

/// Two threads that move frames until the value is dropped.
#[derive(Debug)]
pub(crate) struct Pump {
    refused: Arc<AtomicU64>,
    lost: Arc<OnceLock<Fits>>,
    /// Closing it ends the threads.
    stop: Option<OwnedFd>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What one thread works with.
struct Way {
    from: Arc<Tap>,
    to: Arc<Tap>,
    events: Epoll,
    _stopped: Arc<OwnedFd>,
    refused: Arc<AtomicU64>,
    lost: Arc<OnceLock<Fits>>,
}

impl Pump {
    /// Between a pod's tap and a guest's card. Both threads stay on `cpu`, if one is given.
    pub(crate) fn start(pod: Tap, card: Tap, cpu: Option<usize>) -> Result<Self> {
        for tap in [&pod, &card] {
            tap.never_block()?;
        }
        // Not for children: one that holds the other end would keep the threads going.
        let (stopped, stop) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        let (pod, card, stopped) = (Arc::new(pod), Arc::new(card), Arc::new(stopped));
        let (refused, lost) = (Arc::default(), Arc::default());
        let (pinned, outcome) = mpsc::channel();
        let mut threads = Vec::new();
        for (from, to, lost) in
            [(&pod, &card, Arc::default()), (&card, &pod, Arc::<OnceLock<Fits>>::clone(&lost))]
        {
            let way = Way {
                from: Arc::clone(from),
                to: Arc::clone(to),
                events: events_of(from, &stopped).context("cannot watch a tap by epoll")?,
                _stopped: Arc::clone(&stopped),
                refused: Arc::<AtomicU64>::clone(&refused),
                lost,
            };
            let pinned = pinned.clone();
            threads.push(thread::spawn(move || {
                let told = pinned.send(cpu.map_or(Ok(()), pin));
                drop(pinned);
                if told.is_ok() {
                    way.carry();
                }
            }));
        }
        let pump = Self { refused, lost, stop: Some(stop), threads };
        drop(pinned);
        outcome.into_iter().collect::<Result<()>>()?;
        Ok(pump)
    }

    /// Frames that a tap refused since the start, both ways.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// From now on, frames from the card that `fits` do not reach the pod. Once for a pump.
    pub(crate) fn lose(&self, fits: Fits) -> Result<()> {
        self.lost.set(fits).ok().context("this guest loses frames already")
    }

    /// CPU time of both threads since the start: what the taps' other ends do within the calls is part of it.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.threads.iter().map(cpu_time).sum()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Way {
    /// Moves frames one way until `stopped` is closed or the source is gone.
    fn carry(&self) {
        let mut buffer = vec![0; FRAME_MAX];
        let mut events = [EpollEvent::empty(); 2];
        loop {
            let ready = match self.events.wait(&mut events, EpollTimeout::NONE) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            if events.iter().take(ready).any(|event| event.data() == STOPPED) {
                return;
            }
            for _ in 0..BURST {
                match self.from.read(&mut buffer) {
                    Ok(length) => self.pass_on(buffer.get(..length).unwrap_or_default()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // The tap was deleted: there is nothing left to move.
                    Err(_) => return,
                }
            }
        }
    }

    fn pass_on(&self, frame: &[u8]) {
        if self.lost.get().is_some_and(|fits| frame.get(VNET_HEADER..).is_some_and(fits)) {
            return;
        }
        if self.to.write(frame).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn events_of(tap: &Tap, stopped: &OwnedFd) -> nix::Result<Epoll> {
    let events = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    events.add(tap.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    events.add(stopped, EpollEvent::new(EpollFlags::EPOLLIN, STOPPED))?;
    Ok(events)
}

fn cpu_time(thread: &thread::JoinHandle<()>) -> Result<Duration> {
    let mut clock = MaybeUninit::uninit();
    #[expect(unsafe_code, reason = "nix knows the clocks of processes only")]
    // SAFETY: a thread that was not joined has an id; the clock's number is written through a valid pointer.
    let error = unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), clock.as_mut_ptr()) };
    if error != 0 {
        bail!("a thread has no CPU clock: {}", Errno::from_raw(error));
    }
    #[expect(unsafe_code, reason = "the number was written by the call above")]
    // SAFETY: the call succeeded.
    let clock = ClockId::from_raw(unsafe { clock.assume_init() });
    Ok(clock.now().context("cannot read a thread's CPU clock")?.into())
}
