// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench --storm`: many guests boot at once, and how long each waits for its address.

mod agent;
mod boot;
mod crowd;
mod message;
mod report;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use netagent_tests::{agent::Agent, poll};
use serde::Serialize;

pub(super) use self::report::Report;
use self::{
    agent::Costs,
    boot::{Boot, boot},
    crowd::Crowd,
};
use super::{load::Cpus, machine::Machine, step};

/// Guests, unless told otherwise, and of a smoke test.
const PORTS: usize = 1000;
const QUICK_PORTS: usize = 20;
/// The times over which the guests begin.
const OVER: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(1)];
const ROUNDS: u32 = 3;
/// Until the agent has given up what it holds for guests that are quiet.
const AT_REST: Duration = Duration::from_secs(60);

/// One boot of all guests.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    /// Over which time the guests began, in milliseconds.
    over_ms: u64,
    #[serde(flatten)]
    boot: Boot,
    /// CPU time of the agent meanwhile, in milliseconds.
    agent_cpu_ms: u64,
    /// Resident memory of the agent afterwards, in KiB.
    agent_memory_kib: u64,
}

/// The agent before the first boot.
#[derive(Debug, Serialize)]
pub(super) struct AtRest {
    /// Wall time of all attaches, in milliseconds, with the making of links and addresses.
    attached_ms: u64,
    /// CPU time of the agent for it.
    attach_cpu_ms: u64,
    /// Resident memory, in KiB.
    memory_kib: u64,
}

/// Runs all of it. An error when a guest stays without an address.
pub(super) fn measure(ports: Option<u32>, rounds: Option<u32>, quick: bool, binary: &Path) -> Result<Report> {
    let machine = Machine::look(Cpus::choose()?)?;
    let default = if quick { QUICK_PORTS } else { PORTS };
    let ports = ports.map_or(Ok(default), usize::try_from).context("so many ports")?;
    let agent = step("agent", |_| {
        let agent = Agent::builder().binary(binary).start()?;
        let detail = format!("pid {}", agent.pid().unwrap_or_default());
        Ok((agent, detail))
    })?;
    let costs = Costs::of(agent.pid().context("the agent does not run")?);
    let files = costs.open_files()?;
    let (crowd, at_rest) = step("attach", |step| {
        let started = std::time::Instant::now();
        let crowd = Crowd::build(&agent, ports, |what, at| step.note(format!("{what} {at} of {ports}")))?;
        let at_rest = AtRest {
            attached_ms: millis(started.elapsed()),
            attach_cpu_ms: millis(costs.cpu()?),
            memory_kib: costs.memory_kib()?.0,
        };
        Ok(((crowd, at_rest), format!("{ports} ports, each in a pod of its own")))
    })?;
    let rounds = rounds.unwrap_or(if quick { 1 } else { ROUNDS });
    let measured = step("boot", |step| {
        let mut measured = Vec::new();
        let plan = (0..rounds).flat_map(|round| OVER.map(|over| (round, over)));
        for (number, (round, over)) in (1_u16..).zip(plan) {
            step.note(format!("round {} of {rounds}, over {} ms", round + 1, over.as_millis()));
            // What is left from the boot before would help this one.
            poll::try_until("the agent to be at rest", AT_REST, || {
                Ok((costs.open_files()? <= files).then_some(()))
            })?;
            let cpu = costs.cpu()?;
            let boot = boot(&crowd.guests, number, over)?;
            measured.push(Round {
                over_ms: millis(over),
                boot,
                agent_cpu_ms: millis(costs.cpu()?.saturating_sub(cpu)),
                agent_memory_kib: costs.memory_kib()?.0,
            });
        }
        let detail = format!("{} boots of all guests", measured.len());
        Ok((measured, detail))
    })?;
    let most = costs.memory_kib()?.1;
    step("detach", |_| {
        drop(crowd);
        Ok(((), "namespaces deleted".to_owned()))
    })?;
    Ok(Report::new(machine, ports, quick, at_rest, measured, most))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
