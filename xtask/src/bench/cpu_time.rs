// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPU time of the whole machine: whatever a packet costs, it costs somewhere, in a process or in none.
//!
//! What is not idle was used: user, system, interrupts and softirqs. Their own counters in /proc/stat are not added up:
//! many kernels fill them by asking at every tick who runs, and a load with a rhythm of its own is then seen always or
//! never; the same work came out between 0.4 and 24 us per packet. How long a CPU was idle the kernel measures.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

const STAT: &str = "/proc/stat";

/// A moment: how long all CPUs together have been without work.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTime {
    at: Instant,
    cpus: usize,
    /// Seconds: idle, waiting for disks, stolen by other machines; proc_stat(5).
    unused: f64,
}

impl CpuTime {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string(STAT).with_context(|| format!("cannot read {STAT}"))?;
        let per_second = sysconf(SysconfVar::CLK_TCK)
            .context("sysconf(_SC_CLK_TCK)")?
            .context("the kernel does not tell its clock ticks")?;
        let ticks = unused_ticks(&text).with_context(|| format!("{STAT} has no times of all CPUs"))?;
        let cpus = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
        Ok(Self { at: Instant::now(), cpus, unused: ticks as f64 / per_second as f64 })
    }

    /// CPU seconds since then, and seconds.
    pub(super) fn used_since(before: Self) -> Result<(f64, f64)> {
        let now = Self::now()?;
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        Ok((seconds * now.cpus as f64 - (now.unused - before.unused), seconds))
    }
}

/// CPUs that the machine needs while nothing is measured, looked at over `time`.
pub(super) fn at_rest(time: Duration) -> Result<f64> {
    let before = CpuTime::now()?;
    thread::sleep(time);
    let (used, seconds) = CpuTime::used_since(before)?;
    Ok(used / seconds)
}

fn unused_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal.
    [3, 4, 7].into_iter().map(|at| fields.get(at).copied()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_time_is_unused() {
        let stat = "cpu  1 20 300 4000 50000 600 7000 80000 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(unused_ticks(stat), Some(134_000));
        assert_eq!(unused_ticks("intr 1 2\n"), None);
        assert_eq!(unused_ticks("cpu  1 2\n"), None);
    }
}
