// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pings and iperf3 between node and guest, both ways.

use std::time::Duration;

use anyhow::{Result, bail};
use netagent_tests::{
    guest::Guest,
    iperf::{Iperf, Report},
    ping::Ping,
    process::run,
    topology::{GATEWAY4, POD4, Topology},
};

use super::story::{Plan, step};

const PINGS: &str = "10";
const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) ping_to_guest: Ping,
    pub(super) ping_from_guest: Ping,
    pub(super) tcp_to_guest: Report,
    pub(super) tcp_from_guest: Report,
}

/// Runs all four; a ping that is lost is a failure.
pub(super) fn measure(plan: &Plan, topology: &Topology, guest: &Guest) -> Result<Traffic> {
    let (ping_to_guest, ping_from_guest) = step("ping", |step| {
        step.note("node -> guest");
        let mut command = topology.node.command(plan.image.busybox());
        command.args(["ping", "-c", PINGS, "-i", "0.1", "-W", "2", &POD4.to_string()]);
        let there = complete(Ping::parse(&run(&mut command, PING_TIMEOUT)?.stdout)?, "node -> guest")?;
        step.note("guest -> node");
        let (_, output) = guest.sh(&format!("ping -c {PINGS} -i 0.1 -W 2 {GATEWAY4}"), PING_TIMEOUT)?;
        let back = complete(Ping::parse(&output)?, "guest -> node")?;
        Ok((
            (there, back),
            format!("node -> guest {}, guest -> node {}", ping_words(&there), ping_words(&back)),
        ))
    })?;
    let (tcp_to_guest, tcp_from_guest) = step("iperf3", |step| {
        step.note("node -> guest");
        let there = Iperf::to(POD4, plan.seconds).run(&topology.node)?;
        step.note("guest -> node");
        let back = Iperf::to(POD4, plan.seconds).reverse().run(&topology.node)?;
        let detail = format!("node -> guest {}, guest -> node {}", rate(&there), rate(&back));
        Ok(((there, back), detail))
    })?;
    Ok(Traffic { ping_to_guest, ping_from_guest, tcp_to_guest, tcp_from_guest })
}

fn complete(ping: Ping, way: &str) -> Result<Ping> {
    if ping.received != ping.sent || ping.sent == 0 {
        bail!("ping {way}: {} of {} came back", ping.received, ping.sent);
    }
    Ok(ping)
}

/// As in `10 of 10, 0.82 ms`.
pub(super) fn ping_words(ping: &Ping) -> String {
    let mean = ping.mean_ms.map_or_else(String::new, |mean| format!(", {mean:.2} ms"));
    format!("{} of {}{mean}", ping.received, ping.sent)
}

/// As in `954 Mbit/s`.
pub(super) fn rate(report: &Report) -> String {
    let megabits = report.received_bits_per_second() / 1e6;
    if megabits < 9_950.0 { format!("{megabits:.0} Mbit/s") } else { format!("{:.1} Gbit/s", megabits / 1e3) }
}
