// SPDX-License-Identifier: MIT OR Apache-2.0
//! The load: one pinned thread sends, and what that took and who arrived is a sample.

pub(super) mod frame;
pub(super) mod from_vm;
pub(super) mod to_vm;

use std::{
    fs,
    panic::resume_unwind,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{affinity::pin, interrupt};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use self::frame::Frame;
use super::statistics::Spread;

/// How long stragglers are waited for before they count as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Small frames before the clock starts: caches, branch predictors, the bridge's table.
const WARM_UP: u64 = 512;

/// The CPUs of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Cpus {
    /// Where frames are sent, and where all of the path is paid.
    pub(super) load: usize,
    /// Where the tap's ring is emptied, in the guest's place.
    pub(super) drain: usize,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Frames sent while the clock ran.
    pub(super) sent: u64,
    /// Of these, frames that came to the end of the path.
    pub(super) arrived: u64,
    /// What sending them took, in nanoseconds.
    pub(super) ns: u64,
    /// Nanoseconds per frame in the median slice.
    pub(super) slice_ns: f64,
    /// Nanoseconds in which the sender waited for a reader that had fallen behind; not among `ns`.
    pub(super) waited_ns: u64,
    /// How often the kernel gave the CPU to somebody else meanwhile: a quiet machine has none.
    pub(super) preempted: u64,
    /// How often the sender slept in a system call, for want of memory or room: none does on a quiet machine.
    pub(super) slept: u64,
}

impl Sample {
    /// Frames were missing before the clock ran: there is nothing to time.
    fn of_lost_warm_up(sent: u64, arrived: u64) -> Self {
        Self { sent, arrived, ns: 0, slice_ns: f64::NAN, waited_ns: 0, preempted: 0, slept: 0 }
    }

    /// Nanoseconds per frame in the median slice; nothing when a frame was lost, for a lost frame is cheap.
    pub(super) fn ns_per_frame(&self) -> Option<f64> {
        (self.sent > 0 && self.lost() == 0).then_some(self.slice_ns)
    }

    /// Nanoseconds per frame over all of it, as [`ns_per_frame`](Self::ns_per_frame).
    pub(super) fn mean_ns_per_frame(&self) -> Option<f64> {
        (self.sent > 0 && self.lost() == 0).then(|| self.ns as f64 / self.sent as f64)
    }

    /// Frames that never came.
    pub(super) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.arrived)
    }
}

impl Cpus {
    /// The last two that this process may use: the first ones serve most interrupts.
    pub(super) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for this process's CPUs")?;
        let mut cpus = (0..CpuSet::count()).rev().filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
        match (cpus.next(), cpus.next()) {
            (Some(load), Some(drain)) => Ok(Self { load, drain }),
            _ => bail!(
                "the bench needs two CPUs, one to send and one to empty the tap's ring; this process may use one: \
                 give it more (taskset, cpuset, the VM's size)"
            ),
        }
    }
}

/// The slices of a sample, as they come.
#[derive(Debug)]
struct Slices {
    /// Frames of one.
    length: u64,
    /// Nanoseconds per frame of each whole slice.
    whole: Vec<f64>,
    frames: u64,
    ns: u64,
    total_ns: u64,
}

impl Slices {
    fn of(frame: Frame) -> Self {
        Self { length: frame.slice(), whole: Vec::new(), frames: 0, ns: 0, total_ns: 0 }
    }

    fn add(&mut self, frames: u64, ns: u64) {
        self.total_ns += ns;
        self.frames += frames;
        self.ns += ns;
        if self.frames >= self.length {
            self.whole.push(self.ns as f64 / self.frames as f64);
            (self.frames, self.ns) = (0, 0);
        }
    }

    /// The median; of a sample that is shorter than a slice, all of it.
    fn median(self) -> f64 {
        let rest = (self.frames > 0).then(|| self.ns as f64 / self.frames as f64);
        Spread::of(self.whole).map(|spread| spread.median).or(rest).unwrap_or(f64::NAN)
    }
}

/// Runs `work` on a thread of its own on `cpu`.
pub(super) fn pinned<T: Send>(cpu: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(cpu)?;
            work()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Looks at `arrived` until it reaches `target`; gives the last look. Spins: sleeping would cool the CPU down.
fn settle(target: u64, mut arrived: impl FnMut() -> Result<u64>) -> Result<u64> {
    let started = Instant::now();
    loop {
        let now = arrived()?;
        if now >= target || started.elapsed() >= PATIENCE {
            return Ok(now);
        }
        interrupt::check()?;
        thread::yield_now();
    }
}

/// How often the calling thread lost its CPU, and how often it gave it up, see proc_pid_status(5).
#[derive(Clone, Copy, Debug)]
struct Switches {
    involuntary: u64,
    voluntary: u64,
}

impl Switches {
    fn now() -> Result<Self> {
        let path = "/proc/thread-self/status";
        let status = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let count = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| anyhow!("{path} has no `{key}`"))
        };
        Ok(Self {
            involuntary: count("nonvoluntary_ctxt_switches:")?,
            voluntary: count("voluntary_ctxt_switches:")?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            involuntary: self.involuntary.saturating_sub(before.involuntary),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_that_lost_a_frame_has_no_cost() {
        let sample = Sample {
            sent: 100,
            arrived: 100,
            ns: 60_000,
            slice_ns: 500.0,
            waited_ns: 0,
            preempted: 0,
            slept: 0,
        };
        assert_eq!((sample.ns_per_frame(), sample.mean_ns_per_frame()), (Some(500.0), Some(600.0)));
        let lossy = Sample { arrived: 99, ..sample };
        assert_eq!((lossy.ns_per_frame(), lossy.lost()), (None, 1));
        assert_eq!(Sample { sent: 0, arrived: 0, ..sample }.ns_per_frame(), None);
    }

    #[test]
    fn a_slice_in_which_the_cpu_was_gone_does_not_count() {
        let mut slices = Slices::of(Frame::Udp64);
        for ns in [100, 100, 9000] {
            slices.add(128, ns * 128);
            slices.add(128, ns * 128);
        }
        assert_eq!(slices.total_ns, 9200 * 256);
        assert_eq!(slices.median(), 100.0);
        let mut short = Slices::of(Frame::Udp64);
        short.add(10, 500);
        assert_eq!(short.median(), 50.0);
    }

    #[test]
    fn a_thread_stays_where_it_is_put() {
        let Cpus { load, .. } = Cpus::choose().unwrap();
        let seen = pinned(load, || Ok(nix::sched::sched_getcpu()?)).unwrap();
        assert_eq!(seen, load);
    }
}
