// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest on a port of netagent: attach, lease, traffic, kill, adoption, evidence, detach.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    agent::Agent,
    guest::Guest,
    interrupt,
    topology::{POD_LINK, Topology},
};
use serde_json::Value;

use super::{
    evidence::{self, Evidence},
    kill::{self, Killed},
    story::{HOSTNAME, Plan, TAP, Told, boot, network, step},
    traffic,
};

/// All that runs. Dropped in this order: the guest lets go of the tap before agent and namespaces go.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) guest: Guest,
    pub(super) agent: Agent,
    pub(super) topology: Topology,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Netagent {
    pub(super) told: Told,
    /// The port as the agent showed it when it was attached.
    pub(super) port: Value,
    pub(super) killed: Killed,
    pub(super) evidence: Evidence,
}

/// Plays it all. The stage is given back standing if `keep`.
pub(super) fn play(plan: &Plan, binary: &Path, keep: bool) -> Result<(Netagent, Option<Stage>)> {
    let topology = network()?;
    let mut agent = step("agent", |_| {
        let agent = Agent::builder().binary(binary).start()?;
        let detail = format!("pid {}, its own socket and bpffs", agent.pid().unwrap_or_default());
        Ok((agent, detail))
    })?;
    let (told, guest) = act(plan, &topology, &mut agent).map_err(|error| {
        if interrupt::requested() {
            return error;
        }
        anyhow!("{error:#}\nthe agent's log ends:\n{}", agent.log_tail())
    })?;
    let stage = Stage { guest, agent, topology };
    if keep {
        return Ok((told, Some(stage)));
    }
    take_down(stage, &told)?;
    Ok((told, None))
}

fn act(plan: &Plan, topology: &Topology, agent: &mut Agent) -> Result<(Netagent, Guest)> {
    let addresses = evidence::addresses(topology)?;
    let port = step("attach", |_| attach(topology, agent))?;
    let mac = match port.pointer("/guest/mac").and_then(Value::as_str) {
        Some(mac) => mac.to_owned(),
        None => topology.pod_mac()?,
    };
    let (guest, booted) = boot(plan, topology, &mac)?;
    let traffic = traffic::measure(plan, topology, &guest)?;
    let killed = kill::play(topology, agent, &port)?;
    let evidence = step("evidence", |_| {
        let evidence = Evidence::gather(topology, agent, &addresses)?;
        let detail = format!("{} programs, no bridge, addresses as before", evidence.programs.len());
        Ok((evidence, detail))
    })?;
    Ok((Netagent { told: Told { booted, traffic }, port, killed, evidence }, guest))
}

fn attach(topology: &Topology, agent: &Agent) -> Result<(Value, String)> {
    let netns = topology.pod.path().display().to_string();
    let resolv_conf = topology.resolv_conf().display().to_string();
    let mut args = vec!["attach", "--netns", &netns, "--pod-link", POD_LINK, "--tap", TAP];
    args.extend(["--resolv-conf", &resolv_conf, "--hostname", HOSTNAME]);
    let port = agent.json(&args)?;
    let id = port_id(&port)?;
    let tier = text(&port, "/datapath/tier").unwrap_or("?");
    let hook = text(&port, "/datapath/hook").unwrap_or("?");
    let detail = format!("port {id}: tier {tier}, hook {hook}");
    Ok((port, detail))
}

/// The guest ends, the port is detached, and nothing of it may be left.
fn take_down(stage: Stage, told: &Netagent) -> Result<()> {
    let Stage { guest, mut agent, topology } = stage;
    drop(guest);
    step("detach", |_| {
        let id = port_id(&told.port)?;
        let done = agent.cli(&["detach", id])?;
        if done.code != 0 {
            bail!("`netagent detach {id}` ended with {}: {}", done.code, done.stderr.trim());
        }
        let left = evidence::left_behind(&topology)?;
        if !left.is_empty() {
            bail!("detach left behind: {}", left.join(", "));
        }
        agent.terminate().context("the agent does not end on SIGTERM")?;
        Ok(((), "tap and programs are gone, the pod is as the CNI left it".to_owned()))
    })
}

/// The port's name.
pub(super) fn port_id(port: &Value) -> Result<&str> {
    text(port, "/id").ok_or_else(|| anyhow!("the port has no id: {port}"))
}

/// A text in the port's JSON.
pub(super) fn text<'a>(port: &'a Value, pointer: &str) -> Option<&'a str> {
    port.pointer(pointer).and_then(Value::as_str)
}
