// SPDX-License-Identifier: MIT OR Apache-2.0
//! iperf3 as a load and as a counter: the fields of its JSON report that we use.

use std::{net::IpAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    netns::Netns,
    poll,
    process::{Process, run},
};

/// Grace on top of a test's own length: set-up, tear-down, a slow guest.
const GRACE: Duration = Duration::from_secs(20);
/// A server needs a moment between two tests; until then it refuses or says that it is busy.
const SERVER_TIMEOUT: Duration = Duration::from_secs(15);

/// One test to run.
#[derive(Clone, Debug)]
pub struct Iperf {
    server: IpAddr,
    port: u16,
    seconds: u32,
    reverse: bool,
    udp: bool,
    bitrate: Option<String>,
    amount: Option<String>,
    args: Vec<String>,
}

impl Iperf {
    /// TCP for `seconds` from the client to `server`, as fast as it goes.
    pub fn to(server: impl Into<IpAddr>, seconds: u32) -> Self {
        Self {
            server: server.into(),
            port: 5201,
            seconds,
            reverse: false,
            udp: false,
            bitrate: None,
            amount: None,
            args: Vec::new(),
        }
    }

    /// From the server to the client (`-R`).
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// UDP at a rate, as in `20M`.
    #[must_use]
    pub fn udp(mut self, bitrate: &str) -> Self {
        self.udp = true;
        self.bitrate(bitrate)
    }

    /// Not more than this rate, as in `100M`.
    #[must_use]
    pub fn bitrate(mut self, bitrate: &str) -> Self {
        self.bitrate = Some(bitrate.to_owned());
        self
    }

    /// Ends after so many bytes of payload, as in `512M`, and not after seconds.
    #[must_use]
    pub fn amount(mut self, bytes: &str) -> Self {
        self.amount = Some(bytes.to_owned());
        self
    }

    /// Another port than 5201.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// One more argument of the client.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Runs the client in `netns` to its end.
    pub fn run(&self, netns: &Netns) -> Result<Report> {
        self.run_around(netns, || Ok(())).map(|((), report)| report)
    }

    /// As [`run`](Self::run). `before` is called when the client is about to start: again for each try, since a server
    /// that is not ready refuses.
    pub fn run_around<T>(&self, netns: &Netns, mut before: impl FnMut() -> Result<T>) -> Result<(T, Report)> {
        let timeout = Duration::from_secs(self.seconds.into()) + GRACE;
        poll::try_until(&format!("an iperf3 server on {}", self.server), SERVER_TIMEOUT + timeout, || {
            let noted = before()?;
            let done = run(self.command(netns).as_mut(), timeout)?;
            let report = Report::parse(&done.stdout)
                .with_context(|| format!("iperf3 ended with {}: {}", done.code, done.stderr.trim()))?;
            match report.error.as_deref() {
                None => Ok(Some((noted, report))),
                Some(error) if error.contains("Connection refused") || error.contains("busy") => Ok(None),
                Some(error) => bail!("iperf3 to {}: {error}", self.server),
            }
        })
    }

    fn command(&self, netns: &Netns) -> Box<Command> {
        let mut command = netns.command("iperf3");
        command.args(["-J", "-c", &self.server.to_string(), "-p", &self.port.to_string()]);
        match &self.amount {
            Some(bytes) => command.args(["-n", bytes]),
            None => command.args(["-t", &self.seconds.to_string()]),
        };
        command.args(["--connect-timeout", "3000"]);
        command.args(self.reverse.then_some("-R")).args(self.udp.then_some("-u"));
        if let Some(bitrate) = &self.bitrate {
            command.args(["-b", bitrate]);
        }
        command.args(&self.args);
        Box::new(command)
    }
}

/// Starts `iperf3 -s` in a namespace; it ends with the value.
pub fn server(netns: &Netns, port: u16, log: &Path) -> Result<Process> {
    Process::spawn_logged(netns.command("iperf3").args(["-s", "-p", &port.to_string()]), log)
}

/// What a test found.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Report {
    /// Why it failed.
    pub error: Option<String>,
    /// Second by second.
    #[serde(default)]
    pub intervals: Vec<Interval>,
    /// The whole.
    #[serde(default)]
    pub end: End,
}

/// One second of a test.
#[derive(Clone, Debug, Deserialize)]
pub struct Interval {
    /// Over all streams.
    pub sum: Sum,
}

/// The totals.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct End {
    /// As the sender counted (TCP, and UDP in newer versions).
    pub sum_sent: Option<Sum>,
    /// As the receiver counted.
    pub sum_received: Option<Sum>,
    /// UDP: the receiver's view with losses.
    pub sum: Option<Sum>,
    /// Of both processes.
    pub cpu_utilization_percent: Option<Utilization>,
}

/// CPU time of the two processes, in percent of the test's length.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Utilization {
    /// The client's.
    pub host_total: f64,
    /// The server's.
    pub remote_total: f64,
}

/// Sums over all streams.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Sum {
    /// Seconds from the test's start.
    #[serde(default)]
    pub start: f64,
    /// Seconds from the test's start.
    #[serde(default)]
    pub end: f64,
    /// Payload bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Payload bits per second.
    #[serde(default)]
    pub bits_per_second: f64,
    /// TCP segments sent again (the sender's side only).
    pub retransmits: Option<u64>,
    /// UDP datagrams.
    pub packets: Option<u64>,
    /// UDP datagrams missing at the receiver.
    pub lost_packets: Option<u64>,
}

impl Report {
    /// Reads the output of `iperf3 -J`.
    pub fn parse(text: &str) -> Result<Self> {
        // Warnings may stand before the object.
        let json = text.find('{').and_then(|at| text.get(at..)).unwrap_or(text);
        serde_json::from_str(json)
            .with_context(|| format!("iperf3 did not print its report: {}", text.trim()))
    }

    /// What arrived, in bits per second of payload.
    pub fn received_bits_per_second(&self) -> f64 {
        self.end.sum_received.or(self.end.sum).map_or(0.0, |sum| sum.bits_per_second)
    }

    /// TCP segments sent again.
    pub fn retransmits(&self) -> Option<u64> {
        self.end.sum_sent.and_then(|sum| sum.retransmits)
    }

    /// The slowest second, in bits per second of payload; 0 means that traffic stood still.
    pub fn slowest_interval(&self) -> f64 {
        self.intervals.iter().map(|interval| interval.sum.bits_per_second).fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_tcp_report() {
        let report = Report::parse(
            r#"warning: something
            {"intervals":[{"sum":{"start":0,"end":1.0,"bytes":100,"bits_per_second":800.0,"retransmits":0}},
                          {"sum":{"start":1,"end":2.0,"bytes":50,"bits_per_second":400.0,"retransmits":1}}],
             "end":{"sum_sent":{"bytes":150,"bits_per_second":600.5,"retransmits":1},
                    "sum_received":{"bytes":140,"bits_per_second":560.0}}}"#,
        )
        .unwrap();
        assert_eq!(report.received_bits_per_second(), 560.0);
        assert_eq!(report.retransmits(), Some(1));
        assert_eq!(report.slowest_interval(), 400.0);
    }

    #[test]
    fn reads_losses_and_errors() {
        let report =
            Report::parse(r#"{"end":{"sum":{"packets":10,"lost_packets":2,"bits_per_second":1}}}"#).unwrap();
        assert_eq!(report.end.sum.unwrap().lost_packets, Some(2));
        let report =
            Report::parse(r#"{"start":{},"intervals":[],"end":{},"error":"unable to connect"}"#).unwrap();
        assert_eq!(report.error.as_deref(), Some("unable to connect"));
        assert!(Report::parse("no such option").is_err());
    }
}
