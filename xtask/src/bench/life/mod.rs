// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's own life: how fast ports come and go, what it costs to have them, and whether they cost a packet anything.

mod call;
mod crowded;
mod figures;
mod left;
mod standing;

use std::{path::Path, time::Duration};

use anyhow::Result;
use netagent_tests::agent::Agent;

use self::{
    call::{attach, call, detach},
    figures::{Figures, millis, quantile},
    left::Before,
};
use super::{
    bpf::attach::Attacher, crowd::Crowd, footprint::Footprint, load::Cpus, section::Section, series::Unit,
    step, variant::Workshop,
};

/// Calls of which one round of quantiles is made.
const CHUNK: usize = 100;
/// With so many ports memory is looked at, besides with none and all.
const SOME: usize = 100;
/// What is left behind is shown up to here.
const SHOWN: usize = 5;

/// How much is measured.
struct Extent {
    calls: u32,
    scrapes: u32,
    restarts: u32,
    at_rest: Duration,
}

const FULL: Extent = Extent { calls: 50, scrapes: 10, restarts: 3, at_rest: Duration::from_secs(10) };
const QUICK: Extent = Extent { calls: 5, scrapes: 1, restarts: 1, at_rest: Duration::from_secs(1) };

/// Measures with a port in every pod of `crowd`, and leaves none.
pub(super) fn section(crowd: &Crowd, binary: &Path, cpus: Cpus, quick: bool) -> Result<Section> {
    let ports = crowd.pods.len();
    let all = format!("{ports} ports");
    let extent = if quick { QUICK } else { FULL };
    let mut figures = Figures::default();
    let mut agent = Agent::builder()
        .binary(binary)
        .netns(&crowd.node)
        .arg("--metrics")
        .arg(standing::METRICS.to_string())
        .start()?;
    let before = Before::look(crowd, Footprint::of(&agent)?)?;

    come(&mut figures, crowd, &agent, &extent)?;
    step("stand", |_| {
        let footprint = Footprint::of(&agent)?;
        footprint.wait_at_rest(before.open_files())?;
        memory(&mut figures, footprint, &format!("{all}, at rest"))?;
        standing::at_rest(&mut figures, footprint, &all, extent.at_rest)?;
        standing::scrapes(&mut figures, crowd, footprint, &all, extent.scrapes)?;
        Ok(((), all.clone()))
    })?;
    step("restart", |_| {
        standing::restarts(&mut figures, crowd, &mut agent, &all, extent.restarts)?;
        Ok(((), format!("{} times", extent.restarts)))
    })?;
    go(&mut figures, crowd, &agent)?;
    let mut absent = left(&before, crowd, &agent)?;

    let lone = Agent::builder().binary(binary).netns(&crowd.node).start()?;
    let workshop = Workshop { attacher: Attacher::new()?, agent, other: Some(lone) };
    let (packets, not_measured) = crowded::measure(&mut figures, &workshop, crowd, cpus, quick)?;
    absent.extend(not_measured);
    let tables = vec![figures.table(all), crowded::table(&packets, ports)];
    let mut series = figures.series;
    series.extend(packets);
    Ok(Section {
        name: "life",
        title: "Life: how ports come and go, and what the agent costs with them",
        series,
        tables,
        remarks: vec![
            "Calls are whole runs of the command line, from the start of its process to its end.".to_owned(),
        ],
        absent,
    })
}

/// Ports come, one after another.
fn come(figures: &mut Figures, crowd: &Crowd, agent: &Agent, extent: &Extent) -> Result<()> {
    let footprint = Footprint::of(agent)?;
    let ports = crowd.pods.len();
    step("come", |step| {
        memory(figures, footprint, "0 ports")?;
        let calls: Vec<f64> =
            (0..extent.calls).map(|_| call(agent, &["status"]).map(millis)).collect::<Result<_>>()?;
        figures.add("a call for nothing", "0 ports", Unit::Milliseconds, calls);
        let cpu = footprint.cpu()?;
        let mut times = Vec::new();
        for (at, pod) in crowd.pods.iter().enumerate() {
            step.note(format!("port {at} of {ports}"));
            times.push(attach(agent, pod)?);
            if times.len() == SOME && times.len() < ports {
                memory(figures, footprint, &format!("{SOME} ports"))?;
            }
        }
        let cpu = footprint.cpu()?.saturating_sub(cpu);
        memory(figures, footprint, &format!("{ports} ports"))?;
        if let Some((first, warm)) = times.split_first() {
            figures.add("attach", "first port", Unit::Milliseconds, [millis(*first)]);
            quantiles(figures, "attach", warm);
        }
        all(figures, "attach", &times, cpu);
        Ok(((), format!("{ports} ports, one after another")))
    })
}

/// Ports go, one after another.
fn go(figures: &mut Figures, crowd: &Crowd, agent: &Agent) -> Result<()> {
    let footprint = Footprint::of(agent)?;
    step("go", |_| {
        let cpu = footprint.cpu()?;
        let times: Vec<Duration> = crowd.pods.iter().map(|pod| detach(agent, pod)).collect::<Result<_>>()?;
        let cpu = footprint.cpu()?.saturating_sub(cpu);
        quantiles(figures, "detach", &times);
        all(figures, "detach", &times, cpu);
        memory(figures, footprint, "0 ports again")?;
        Ok(((), format!("{} ports, one after another", times.len())))
    })
}

/// Of each hundred of calls a round: whether they take longer when there are more ports is part of the spread.
fn quantiles(figures: &mut Figures, verb: &str, times: &[Duration]) {
    let chunk = times.len().div_ceil((times.len() / CHUNK).max(1)).max(1);
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        let rounds = times.chunks(chunk).map(|chunk| millis(quantile(chunk, share)));
        figures.add(&format!("{verb} {name}"), "one after another", Unit::Milliseconds, rounds);
    }
}

fn all(figures: &mut Figures, verb: &str, times: &[Duration], cpu: Duration) {
    let (ports, time) = (times.len(), times.iter().sum());
    let case = format!("{ports} ports, one after another");
    figures.add(&format!("{verb} all"), &case, Unit::Milliseconds, [millis(time)]);
    figures.add_rate(&format!("{verb}es per second"), &case, ports, time);
    figures.add(
        &format!("agent CPU time per {verb}"),
        &case,
        Unit::Milliseconds,
        [millis(cpu) / ports as f64],
    );
}

fn memory(figures: &mut Figures, footprint: Footprint, case: &str) -> Result<()> {
    let memory = footprint.memory()?;
    figures.add("memory RSS", case, Unit::Kibibytes, [memory.resident]);
    figures.add("memory PSS", case, Unit::Kibibytes, [memory.proportional]);
    Ok(())
}

/// What should have gone with the ports and has not.
fn left(before: &Before, crowd: &Crowd, agent: &Agent) -> Result<Vec<String>> {
    step("left", |_| {
        Footprint::of(agent)?.wait_at_rest(before.open_files())?;
        let changed = before.changed(crowd, agent)?;
        let detail = format!("{} pods, pins, files: {} differences", crowd.pods.len(), changed.len());
        let more = changed.len().saturating_sub(SHOWN);
        let told = changed.into_iter().take(SHOWN).map(|one| format!("detach, for it leaves behind: {one}"));
        Ok((told.chain((more > 0).then(|| format!("{more} more of these"))).collect(), detail))
    })
}
