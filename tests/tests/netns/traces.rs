// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port leaves behind when it should leave nothing: pins, entries, files, descriptors, threads.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{agent::Agent, poll, process::run_ok};
use serde_json::Value;

use crate::scene::{SOON, state_files};

const COMMAND: Duration = Duration::from_secs(30);

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

impl Held {
    /// What the agent holds now.
    pub(crate) fn by(agent: &Agent) -> Result<Self> {
        let process = process(agent)?;
        let count = |name| -> Result<usize> {
            let directory = format!("{process}/{name}");
            Ok(fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?.count())
        };
        Ok(Self { descriptors: count("fd")?, threads: count("task")? })
    }

    /// Waits until the agent holds no more than this.
    pub(crate) fn wait_back(self, agent: &Agent) -> Result<()> {
        let what = format!("the agent to be back at {self:?}");
        poll::try_until(&what, SOON, || {
            let now = Self::by(agent)?;
            Ok((now.descriptors <= self.descriptors && now.threads <= self.threads).then_some(()))
        })
        .with_context(|| format!("it holds {:?}: {:?}", Self::by(agent).ok(), descriptors(agent).ok()))
    }
}

/// What each of the agent's descriptors is.
pub(crate) fn descriptors(agent: &Agent) -> Result<Vec<String>> {
    let directory = format!("{}/fd", process(agent)?);
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        // One that was closed since is none.
        if let Ok(target) = fs::read_link(entry.context("cannot list descriptors")?.path()) {
            found.push(target.display().to_string());
        }
    }
    found.sort();
    Ok(found)
}

/// Everything outside of the pod that belongs to ports; in words, empty when there is nothing.
pub(crate) fn of_ports(agent: &Agent) -> Result<Vec<String>> {
    let mut found: Vec<String> = port_pins(agent)?;
    found.extend(state_files(agent)?.iter().map(|file| file.display().to_string()));
    found.extend(entries_in_use(agent)?.iter().map(|slot| format!("entry in slot {slot}")));
    Ok(found)
}

/// Pins and directories of ports.
pub(crate) fn port_pins(agent: &Agent) -> Result<Vec<String>> {
    let pins = agent.bpffs().pins()?;
    let mut found: Vec<String> =
        pins.iter().map(|p| p.display().to_string()).filter(|p| p.contains("/ports/")).collect();
    if let Some(map) = pins.iter().find(|p| is_ports_map(p)) {
        let ports = map.with_file_name("ports");
        if ports.is_dir() {
            for entry in ports.read_dir().with_context(|| format!("cannot list {}", ports.display()))? {
                found.push(entry.context("cannot list pins")?.path().display().to_string());
            }
        }
    }
    Ok(found)
}

/// `PORTS-v<ABI>`.
fn is_ports_map(pin: &Path) -> bool {
    pin.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("PORTS-v"))
}

/// Slots of the map of ports that are not all zero, as bpftool sees them.
pub(crate) fn entries_in_use(agent: &Agent) -> Result<Vec<String>> {
    let pins = agent.bpffs().pins()?;
    let Some(map) = pins.iter().find(|p| is_ports_map(p)) else { return Ok(Vec::new()) };
    let dump = dump(map)?;
    let entries = dump.as_array().ok_or_else(|| anyhow!("bpftool printed no list"))?;
    if entries.is_empty() {
        bail!("bpftool shows an empty map of ports: an array is never empty");
    }
    let in_use = entries.iter().filter(|entry| {
        entry["value"].as_array().is_none_or(|bytes| bytes.iter().any(|byte| byte != "0x00"))
    });
    Ok(in_use.map(|entry| entry["key"].to_string()).collect())
}

/// Waits until no port has left anything.
pub(crate) fn wait_none(agent: &Agent) -> Result<()> {
    poll::try_until("all traces of ports to go", SOON, || Ok(of_ports(agent)?.is_empty().then_some(())))
        .with_context(|| format!("left: {:?}", of_ports(agent).ok()))
}

fn dump(map: &Path) -> Result<Value> {
    let text = run_ok(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(map), COMMAND)?;
    serde_json::from_str(&text).with_context(|| format!("bpftool did not print JSON: {text}"))
}

fn process(agent: &Agent) -> Result<String> {
    agent.pid().map(|pid| format!("/proc/{pid}")).ok_or_else(|| anyhow!("the agent does not run"))
}
