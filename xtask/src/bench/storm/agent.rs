// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent's process costs, as /proc tells it.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// A process of which figures are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    pid: u32,
}

impl Costs {
    pub(super) fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time until now, of all threads, also of those that ended. In steps of a clock tick, 10 ms as a rule.
    pub(super) fn cpu(self) -> Result<Duration> {
        let stat = self.read("stat")?;
        // The name may have spaces; utime and stime are the 14th and 15th field (proc_pid_stat(5)).
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
        let ticks: u64 =
            fields.context("/proc/PID/stat")?.filter_map(|field| field.parse::<u64>().ok()).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().context("sysconf(_SC_CLK_TCK)")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Resident memory in KiB: now, and at most until now.
    pub(super) fn memory_kib(self) -> Result<(u64, u64)> {
        let status = self.read("status")?;
        let field = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        field("VmRSS:").zip(field("VmHWM:")).context("/proc/PID/status")
    }

    /// Files that it has open: sockets in the guests' namespaces among them.
    pub(super) fn open_files(self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.pid);
        Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}
