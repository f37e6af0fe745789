// SPDX-License-Identifier: MIT OR Apache-2.0
//! All guests boot: each says DISCOVER and takes what it is offered. One thread speaks first, another one listens and
//! goes on, as the kernels of the guests would on CPUs of their own.

use std::{
    os::fd::AsFd as _,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    interrupt,
    tap::{FRAME_MAX, VNET_HEADER},
};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::{
    guest::Guest,
    message::{self, ACK, OFFER},
};

/// A guest that heard nothing for so long asks again. Real ones wait longer, and like these not all the same time
/// (RFC 2131, section 4.1).
const AGAIN: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const EVENTS: usize = 64;

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    /// From the first DISCOVER to the last ACK.
    pub(super) all_bound_us: u64,
    /// From each guest's first DISCOVER to its ACK, in ascending order.
    pub(super) latency_us: Vec<u64>,
    /// DISCOVERs that were said again.
    pub(super) retried: u32,
}

impl Boot {
    /// The latency that this share of the guests does not exceed.
    pub(super) fn quantile_us(&self, share: f64) -> u64 {
        let last = self.latency_us.len().saturating_sub(1);
        self.latency_us.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
    }
}

/// Times in nanoseconds since the beginning; 0 for not yet.
#[derive(Default)]
struct Progress {
    first: AtomicU64,
    last: AtomicU64,
    bound: AtomicU64,
    retried: AtomicU32,
}

/// Boots all guests, their beginnings spread evenly over a time. `number` tells this boot's messages from others'.
pub(super) fn boot(guests: &[Guest], number: u16, over: Duration) -> Result<Boot> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll")?;
    let discovers: Vec<_> =
        guests.iter().enumerate().map(|(at, guest)| message::discover(guest.mac, xid(number, at))).collect();
    let progress: Vec<Progress> = guests.iter().map(|_| Progress::default()).collect();
    for (at, guest) in guests.iter().enumerate() {
        drain(guest);
        epoll.add(guest.tap.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, at as u64)).context("epoll")?;
    }
    let storm = Storm { guests, number, discovers, progress, start: Instant::now() };
    thread::scope(|scope| {
        let speaker = scope.spawn(|| storm.speak(over));
        storm.listen(&epoll)?;
        speaker.join().map_err(|_| anyhow!("a thread panicked"))?
    })?;
    let latency = |one: &Progress| one.bound.load(Ordering::Relaxed) - one.first.load(Ordering::Relaxed);
    let mut latency_us: Vec<u64> = storm.progress.iter().map(|one| latency(one) / 1000).collect();
    latency_us.sort_unstable();
    let first = storm.progress.iter().map(|one| one.first.load(Ordering::Relaxed)).min().unwrap_or_default();
    let last = storm.progress.iter().map(|one| one.bound.load(Ordering::Relaxed)).max().unwrap_or_default();
    Ok(Boot {
        all_bound_us: (last - first) / 1000,
        latency_us,
        retried: storm.progress.iter().map(|one| one.retried.load(Ordering::Relaxed)).sum(),
    })
}

struct Storm<'a> {
    guests: &'a [Guest],
    number: u16,
    discovers: Vec<Vec<u8>>,
    progress: Vec<Progress>,
    start: Instant,
}

impl Storm<'_> {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn speak(&self, over: Duration) -> Result<()> {
        let share = over.as_secs_f64() / self.guests.len() as f64;
        for (at, (guest, progress)) in self.guests.iter().zip(&self.progress).enumerate() {
            let due = Duration::from_secs_f64(share * at as f64);
            // Zero where it is late.
            let wait = due.saturating_sub(self.start.elapsed());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            let now = self.now();
            progress.first.store(now, Ordering::Relaxed);
            progress.last.store(now, Ordering::Relaxed);
            guest.tap.send(self.discovers.get(at).map_or(&[][..], Vec::as_slice))?;
        }
        Ok(())
    }

    fn listen(&self, epoll: &Epoll) -> Result<()> {
        let mut bound = 0;
        let mut buffer = vec![0; FRAME_MAX];
        let mut looked = Instant::now();
        let timeout = EpollTimeout::try_from(LOOK).context("epoll")?;
        while bound < self.guests.len() {
            let mut events = [EpollEvent::empty(); EVENTS];
            let ready = match epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                other => other.context("epoll")?,
            };
            for event in events.iter().take(ready) {
                bound += self.hear(usize::try_from(event.data()).unwrap_or(usize::MAX), &mut buffer)?;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                interrupt::check()?;
                if self.start.elapsed() > DEADLINE {
                    bail!(
                        "only {bound} of {} guests were bound after {} s",
                        self.guests.len(),
                        DEADLINE.as_secs()
                    );
                }
                self.ask_again()?;
            }
        }
        Ok(())
    }

    /// All that is there for one guest: how often it became bound by it.
    fn hear(&self, at: usize, buffer: &mut [u8]) -> Result<usize> {
        let (Some(guest), Some(progress)) = (self.guests.get(at), self.progress.get(at)) else {
            return Ok(0);
        };
        let mut bound = 0;
        while let Ok(length) = guest.tap.read(buffer) {
            let reply = buffer.get(VNET_HEADER..length).and_then(message::read);
            let Some(reply) = reply.filter(|reply| reply.xid == xid(self.number, at)) else { continue };
            match reply.message {
                OFFER => {
                    progress.last.store(self.now(), Ordering::Relaxed);
                    guest.tap.send(&message::request(guest.mac, &reply))?;
                }
                ACK if progress.bound.load(Ordering::Relaxed) == 0 => {
                    progress.bound.store(self.now(), Ordering::Relaxed);
                    bound += 1;
                }
                _ => {}
            }
        }
        Ok(bound)
    }

    fn ask_again(&self) -> Result<()> {
        let now = self.now();
        let guests = self.guests.iter().zip(&self.progress).zip(&self.discovers);
        for (at, ((guest, progress), discover)) in guests.enumerate() {
            let last = progress.last.load(Ordering::Relaxed);
            let quiet = Duration::from_nanos(now.saturating_sub(last));
            if last > 0
                && progress.bound.load(Ordering::Relaxed) == 0
                && quiet >= AGAIN.mul_f64(1.0 + at as f64 / self.guests.len() as f64)
            {
                progress.last.store(now, Ordering::Relaxed);
                progress.retried.fetch_add(1, Ordering::Relaxed);
                guest.tap.send(discover)?;
            }
        }
        Ok(())
    }
}

/// Forgets what a tap holds from before.
fn drain(guest: &Guest) {
    let mut buffer = vec![0; FRAME_MAX];
    while guest.tap.read(&mut buffer).is_ok() {}
}

fn xid(number: u16, at: usize) -> u32 {
    u32::from(number) << 16 | u32::from(u16::try_from(at).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_latency_that_occurred() {
        let boot = Boot { all_bound_us: 0, latency_us: (1..=1000).collect(), retried: 0 };
        assert_eq!((boot.quantile_us(0.5), boot.quantile_us(0.99), boot.quantile_us(1.0)), (501, 991, 1000));
        assert_eq!(Boot { latency_us: vec![7], ..boot }.quantile_us(0.99), 7);
    }
}
