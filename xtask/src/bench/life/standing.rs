// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent that has its ports: what it costs at rest, what a scrape of it costs, how long it takes to be there again.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{agent::Agent, poll, scrape};

use super::figures::{Figures, millis, ports};
use crate::bench::{crowd::Crowd, footprint::Footprint, series::Unit};

/// Where the agent serves metrics, in the node of the crowd.
pub(super) const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9102);
const READY: Duration = Duration::from_secs(120);

/// CPU time and wake-ups of an agent that nobody asks for anything.
pub(super) fn at_rest(figures: &mut Figures, footprint: Footprint, case: &str, time: Duration) -> Result<()> {
    let (cpu, woken, started) = (footprint.cpu()?, footprint.wake_ups()?, Instant::now());
    thread::sleep(time);
    let seconds = started.elapsed().as_secs_f64();
    let cpu = millis(footprint.cpu()?.saturating_sub(cpu)) / seconds;
    let woken = footprint.wake_ups()?.saturating_sub(woken) as f64 / seconds;
    figures.add("agent CPU time at rest", case, Unit::CpuMillisecondsPerSecond, [cpu]);
    figures.add("agent wake-ups at rest", case, Unit::PerSecond, [woken]);
    Ok(())
}

/// Time, CPU time of the agent and size of what Prometheus reads.
pub(super) fn scrapes(
    figures: &mut Figures,
    crowd: &Crowd,
    footprint: Footprint,
    case: &str,
    rounds: u32,
) -> Result<()> {
    let (mut times, mut cpu, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (before, started) = (footprint.cpu()?, Instant::now());
        let (status, text) = scrape::get(&crowd.node, METRICS, "/metrics")?;
        times.push(millis(started.elapsed()));
        cpu.push(millis(footprint.cpu()?.saturating_sub(before)));
        if status != 200 {
            bail!("/metrics answered {status}: {text}");
        }
        sizes.push(text.len() as f64 / 1024.0);
    }
    figures.add("scrape", case, Unit::Milliseconds, times);
    figures.add("agent CPU time of a scrape", case, Unit::Milliseconds, cpu);
    figures.add("size of a scrape", case, Unit::Kibibytes, sizes);
    Ok(())
}

/// Ends the agent and starts it again, until it says that it is ready and each of its ports is.
pub(super) fn restarts(
    figures: &mut Figures,
    crowd: &Crowd,
    agent: &mut Agent,
    count: usize,
    rounds: u32,
) -> Result<()> {
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        agent.terminate()?;
        let started = Instant::now();
        agent.launch()?;
        let footprint = Footprint::of(agent)?;
        poll::try_until("every port to be ready again", READY, || {
            // Asking for all ports costs the agent what it should spend on them: only once it says so itself.
            let says = scrape::get(&crowd.node, METRICS, "/readyz").is_ok_and(|(status, _)| status == 200);
            Ok((says && ready(agent)? == count).then_some(()))
        })
        .with_context(|| format!("the agent's log ends:\n{}", agent.log_tail()))?;
        times.push(millis(started.elapsed()));
        cpu.push(millis(footprint.cpu()?));
    }
    figures.add("restart", &ports(count), Unit::Milliseconds, times);
    figures.add("agent CPU time of a restart", &ports(count), Unit::Milliseconds, cpu);
    Ok(())
}

fn ready(agent: &Agent) -> Result<usize> {
    let ports = agent.json(&["status"])?;
    let states = ports.as_array().into_iter().flatten().map(|port| &port["state"]);
    Ok(states.filter(|state| state.as_str() == Some("ready")).count())
}
