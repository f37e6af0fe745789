// SPDX-License-Identifier: MIT OR Apache-2.0
//! A request and its answer, again and again, by fio's engine `net`: how long each took.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    netns::Netns,
    poll,
    process::{Process, run_ok},
    topology::POD4,
};

use crate::bench::guest::{ECHO_PORT, Guest};

const PORT: u16 = ECHO_PORT;
/// Of request and answer.
const BYTES: u32 = 64;
/// For a program to start and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// `st` of a socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";

/// Microseconds of every round trip of a run, ascending.
#[derive(Debug)]
pub(super) struct RoundTrips(Vec<f64>);

impl RoundTrips {
    /// Makes the node ask and the guest answer for `time`, over TCP, both on `cpu`.
    pub(super) fn measure(guest: &Guest, cpu: usize, time: Duration) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("nabench-fio-").tempdir().context("cannot make a folder")?;
        // A guest of QEMU's answers all the time.
        let server = guest.inside().map(|inside| serve(inside, cpu, &guest.log("fio"))).transpose()?;
        let log = dir.path().join("times");
        let mut client = fio(guest.node(), cpu, "client");
        client
            .arg(format!("--hostname={POD4}"))
            .arg("--rw=write")
            .arg(format!("--runtime={}ms", time.as_millis()))
            .arg("--time_based")
            .arg(format!("--write_lat_log={}", log.display()));
        run_ok(&mut client, time + PATIENCE).context("fio at the node")?;
        if let Some(mut server) = server {
            server.wait(PATIENCE)?;
        }
        Self::read(&dir.path().join("times_clat.1.log"))
    }

    fn read(log: &Path) -> Result<Self> {
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        Self::parse(&text).with_context(|| log.display().to_string())
    }

    /// Lines as in `12, 33536, 1, 64, 0, 0`: the second field is the time in nanoseconds.
    fn parse(log: &str) -> Result<Self> {
        let nanoseconds = |line: &str| line.split(',').nth(1)?.trim().parse::<f64>().ok();
        let mut times = log
            .lines()
            .map(|line| nanoseconds(line).map(|ns| ns / 1e3).ok_or_else(|| anyhow!("`{line}` has no time")))
            .collect::<Result<Vec<_>>>()?;
        if times.is_empty() {
            bail!("no request was answered");
        }
        times.sort_by(f64::total_cmp);
        Ok(Self(times))
    }

    /// What `part` of all round trips did not exceed, in microseconds.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

/// Starts what answers, and waits until it listens. It ends after one client.
fn serve(netns: &Netns, cpu: usize, log: &Path) -> Result<Process> {
    let mut server = Process::spawn_logged(fio(netns, cpu, "server").args(["--listen", "--rw=read"]), log)?;
    let sockets = format!("/proc/{}/net/tcp", server.pid());
    poll::try_until("fio in the guest to listen", PATIENCE, || {
        if let Some(status) = server.try_wait()? {
            bail!("it ended with {status}");
        }
        let text = fs::read_to_string(&sockets).with_context(|| format!("cannot read {sockets}"))?;
        Ok(listens(&text).then_some(()))
    })?;
    Ok(server)
}

fn fio(netns: &Netns, cpu: usize, name: &str) -> Command {
    let mut command = netns.command("taskset");
    command.args(["-c", &cpu.to_string(), "fio", "--ioengine=net", "--protocol=tcp", "--pingpong=1"]);
    command.arg(format!("--name={name}")).arg(format!("--port={PORT}"));
    // More than it can do: time or the other side ends it.
    command.arg(format!("--bs={BYTES}")).arg("--size=1t");
    // What is not needed takes time at the start.
    command.args(["--thread", "--clocksource=clock_gettime", "--eta=never"]);
    command
}

/// Whether a table like /proc/net/tcp has a socket that listens on the port.
fn listens(table: &str) -> bool {
    let port = format!(":{PORT:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some(LISTENS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let log: String = (1..=1000).rev().map(|us| format!("{us}, {}, 1, 64, 0, 0\n", us * 1000)).collect();
        let times = RoundTrips::parse(&log).unwrap();
        assert_eq!(
            [0.5, 0.99, 0.999, 1.0].map(|part| times.quantile(part).unwrap()),
            [500.0, 990.0, 999.0, 1000.0]
        );
        assert!(RoundTrips::parse("").is_err());
        assert!(RoundTrips::parse("1\n").is_err());
    }

    #[test]
    fn a_connection_is_no_listener() {
        let table = |state: &str| {
            format!("  sl  local_address rem_address   st\n   0: 00000000:223D 00000000:0000 {state} 0000\n")
        };
        assert!(listens(&table("0A")));
        assert!(!listens(&table("01")));
        assert!(!listens(""));
    }
}
