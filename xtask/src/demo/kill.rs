// SPDX-License-Identifier: MIT OR Apache-2.0
//! kill -9 of the agent under traffic: every datagram is counted, TCP goes on, the next agent adopts the port.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    agent::Agent,
    flood::{Counted, Flood},
    guest::{ECHO_PORT, IPERF_PORTS},
    iperf::{Iperf, Report},
    poll,
    topology::{POD4, Topology},
};
use serde_json::Value;

use super::{
    netagent::{port_id, text},
    story::step,
};

const DATAGRAMS_PER_SECOND: u32 = 500;
/// Less than the path can do: a full queue loses datagrams whoever forwards them.
const TCP_RATE: &str = "100M";
const TCP_SECONDS: u32 = 8;
/// Round trips before the kill, without an agent, and after its return.
const BEFORE: u64 = 500;
const WITHOUT: u64 = 1000;
const AFTER: u64 = 500;
const WAIT: Duration = Duration::from_secs(30);

/// What was counted.
#[derive(Debug)]
pub(super) struct Killed {
    pub(super) counted: Counted,
    pub(super) tcp: Report,
    /// From the kill until the next agent had adopted the port.
    pub(super) away: Duration,
    /// The port before the kill.
    pub(super) before: Value,
    /// The port at the end, as the second agent shows it.
    pub(super) after: Value,
}

/// Kills and restarts. A single lost datagram is a failure.
pub(super) fn play(topology: &Topology, agent: &mut Agent, port: &Value) -> Result<Killed> {
    step("kill -9", |step| {
        let target = SocketAddr::from((POD4, ECHO_PORT));
        let flood = Flood::start(&topology.node, target, DATAGRAMS_PER_SECOND)?;
        thread::scope(|scope| {
            let load = Iperf::to(POD4, TCP_SECONDS).port(IPERF_PORTS[1]).bitrate(TCP_RATE);
            let tcp = scope.spawn(move || load.run(&topology.node));
            step.note("traffic runs");
            returned(&flood, BEFORE)?;
            let before = find_port(agent, port)?;

            let killed_at = Instant::now();
            agent.kill9()?;
            step.note("no agent; traffic goes on");
            returned(&flood, WITHOUT)?;

            agent.start()?;
            let adopted = poll::try_until("the new agent to adopt the port", WAIT, || {
                let port = find_port(agent, port)?;
                Ok((text(&port, "/state") == Some("ready")).then_some(port))
            });
            let away = killed_at.elapsed();
            adopted?;
            step.note("adopted; traffic goes on");
            returned(&flood, AFTER)?;

            let tcp = tcp
                .join()
                .map_err(|_| anyhow!("the thread of iperf3 panicked"))?
                .context("TCP during the kill")?;
            let counted = flood.stop()?;
            let after = find_port(agent, port)?;
            let killed = Killed { counted, tcp, away, before, after };
            killed.check()?;
            let detail = format!("{} datagrams, {} lost; adopted again", counted.sent, counted.lost);
            Ok((killed, detail))
        })
    })
}

impl Killed {
    fn check(&self) -> Result<()> {
        let Counted { sent, lost, duplicated, .. } = self.counted;
        if lost != 0 || duplicated != 0 {
            bail!(
                "of {sent} datagrams {lost} were lost and {duplicated} came twice while the agent was killed"
            );
        }
        if self.tcp.slowest_interval() <= 0.0 {
            bail!("TCP stood still for a second while the agent was killed");
        }
        for way in ["from_vm", "to_vm"] {
            let (before, after) = (packets(&self.before, way), packets(&self.after, way));
            if after.zip(before).is_none_or(|(after, before)| after <= before) {
                bail!("the counter {way} did not go on: {before:?} before the kill, {after:?} after it");
            }
        }
        Ok(())
    }
}

/// Packets of one way in a port's JSON.
pub(super) fn packets(port: &Value, way: &str) -> Option<u64> {
    port.pointer(&format!("/counters/{way}/packets")).and_then(Value::as_u64)
}

/// Waits until `more` datagrams have come back.
fn returned(flood: &Flood, more: u64) -> Result<()> {
    let goal = flood.so_far().1 + more;
    poll::wait_until("datagrams to come back from the guest", WAIT, || {
        (flood.so_far().1 >= goal).then_some(())
    })
}

/// The port as `netagent status` has it now.
fn find_port(agent: &Agent, port: &Value) -> Result<Value> {
    let id = port_id(port)?;
    let status = agent.json(&["status"])?;
    let ports =
        status.as_array().ok_or_else(|| anyhow!("`netagent status -o json` is not an array: {status}"))?;
    ports
        .iter()
        .find(|port| port_id(port).is_ok_and(|one| one == id))
        .cloned()
        .ok_or_else(|| anyhow!("the agent does not know port {id}: {status}"))
}
