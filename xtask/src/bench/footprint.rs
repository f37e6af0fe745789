// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a process costs: CPU time, memory, wake-ups, open files.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use netagent_tests::{agent::Agent, poll};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Until an agent has given up what it holds for guests that are quiet.
const AT_REST: Duration = Duration::from_secs(60);

/// A process of which figures are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    pid: u32,
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Resident.
    pub(super) resident: f64,
    /// The same with what is shared with other processes divided among them.
    pub(super) proportional: f64,
}

impl Footprint {
    pub(super) fn of(agent: &Agent) -> Result<Self> {
        Ok(Self { pid: agent.pid().context("the agent does not run")? })
    }

    /// CPU time until now, of all threads, also of those that ended. Measured by the scheduler, not in clock ticks.
    pub(super) fn cpu(self) -> Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.pid.cast_signed()));
        let time = clock.and_then(clock_gettime).context("cannot read the agent's CPU clock")?;
        Ok(time.into())
    }

    /// Memory now.
    pub(super) fn memory(self) -> Result<Memory> {
        let (resident, proportional) = self.fields("smaps_rollup", ["Rss:", "Pss:"])?;
        Ok(Memory { resident, proportional })
    }

    /// The most resident memory that it ever had, in KiB.
    pub(super) fn most_resident(self) -> Result<f64> {
        Ok(self.fields("status", ["VmHWM:", "VmRSS:"])?.0)
    }

    /// How often threads that live now were woken.
    pub(super) fn wake_ups(self) -> Result<u64> {
        let path = format!("/proc/{}/task", self.pid);
        let mut all = 0;
        for task in fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
            // A thread may end between the two looks.
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
            all += field(&status, "voluntary_ctxt_switches:").context("/proc/PID/task/TID/status")? as u64;
        }
        Ok(all)
    }

    /// Files that it has open: sockets in the guests' namespaces among them.
    pub(super) fn open_files(self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.pid);
        Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
    }

    /// Waits until it has no more than so many files open: what it holds for guests that speak it gives up again.
    pub(super) fn wait_at_rest(self, open_files: usize) -> Result<()> {
        poll::try_until("the agent to be at rest", AT_REST, || {
            Ok((self.open_files()? <= open_files).then_some(()))
        })
    }

    fn fields(self, file: &str, keys: [&str; 2]) -> Result<(f64, f64)> {
        let path = format!("/proc/{}/{file}", self.pid);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let [one, other] = keys.map(|key| field(&text, key));
        one.zip(other).with_context(|| format!("{path} has no {}", keys.join(", ")))
    }
}

fn field(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_its_whole_name() {
        let text =
            "nonvoluntary_ctxt_switches:\t7\nPss:    120 kB\nPss_Anon: 80 kB\nvoluntary_ctxt_switches:\t9\n";
        assert_eq!(field(text, "Pss:"), Some(120.0));
        assert_eq!(field(text, "voluntary_ctxt_switches:"), Some(9.0));
        assert_eq!(field(text, "Rss:"), None);
    }

    #[test]
    fn a_process_that_works_uses_its_clock() {
        let us = Footprint { pid: std::process::id() };
        let before = us.cpu().unwrap();
        poll::try_until("CPU time to pass", AT_REST, || Ok((us.cpu()? > before).then_some(()))).unwrap();
        assert!(us.memory().unwrap().resident > 0.0);
    }
}
