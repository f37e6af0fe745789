// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's own life: how fast ports come and go, what it costs to have them, and whether they cost a packet anything.

mod call;
mod crowded;
mod figures;
mod floor;
mod left;
mod one_by_one;
mod standing;

use std::{path::Path, time::Duration};

use anyhow::Result;
use netagent_tests::agent::Agent;

use self::{
    crowded::Crowded,
    figures::{Figures, ports},
    left::Before,
};
use super::{
    bpf::attach::Attacher, crowd::Crowd, footprint::Footprint, load::Cpus, section::Section, step,
    variant::Workshop,
};

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

/// Measures with as many ports as `crowd` has pods, and leaves none.
pub(super) fn section(crowd: &Crowd, binary: &Path, cpus: Cpus, quick: bool) -> Result<Section> {
    let count = crowd.pods.len();
    let extent = if quick { QUICK } else { FULL };
    let mut figures = Figures::default();
    let mut agent = Agent::builder()
        .binary(binary)
        // Where a DaemonSet with hostNetwork would be.
        .netns(&crowd.node)
        .arg("--metrics")
        .arg(standing::METRICS.to_string())
        .start()?;
    let before = Before::look(crowd)?;
    let attacher = Attacher::new()?;
    floor::measure(&mut figures, crowd, &attacher)?;
    one_by_one::measure(&mut figures, crowd, &agent, extent.calls)?;
    step("restart", |_| {
        standing::restarts(&mut figures, crowd, &mut agent, 0, extent.restarts)?;
        Ok(((), format!("{} times, without ports", extent.restarts)))
    })?;
    let files = Footprint::of(&agent)?.open_files()?;

    let lone = Agent::builder().binary(binary).netns(&crowd.node).start()?;
    let mut workshop = Workshop { attacher, agent, other: Some(lone) };
    let crowded = Crowded::come(&mut figures, &workshop, crowd, cpus, quick)?;
    stand(&mut figures, crowd, &mut workshop.agent, &extent)?;
    let (packets, mut absent) = crowded.go(&mut figures, &workshop.agent, crowd)?;
    absent.extend(left(&before, crowd, &workshop.agent, files)?);

    let tables = vec![figures.table(ports(count)), crowded::table(&packets, count)];
    let mut series = figures.series;
    series.extend(packets);
    Ok(Section {
        name: "life".to_owned(),
        title: "Life: how ports come and go, and what the agent costs with them".to_owned(),
        series,
        tables,
        remarks: vec![
            "Calls are whole runs of the command line, from the start of its process to its end.".to_owned(),
            "Three bare attachments are what the kernel alone takes for a port's programs: no agent is faster.".to_owned(),
        ],
        absent,
    })
}

/// All ports are there, and nothing happens to them but that the agent starts again.
fn stand(figures: &mut Figures, crowd: &Crowd, agent: &mut Agent, extent: &Extent) -> Result<()> {
    let count = crowd.pods.len();
    let footprint = Footprint::of(agent)?;
    step("stand", |_| {
        standing::at_rest(figures, footprint, &ports(count), extent.at_rest)?;
        standing::scrapes(figures, crowd, footprint, &ports(count), extent.scrapes)?;
        Ok(((), ports(count)))
    })?;
    step("restart", |_| {
        standing::restarts(figures, crowd, agent, count, extent.restarts)?;
        figures.add_memory(&format!("{}, restarted", ports(count)), Footprint::of(agent)?.memory()?);
        Ok(((), format!("{} times, with {}", extent.restarts, ports(count))))
    })
}

/// What should have gone with the ports and has not.
fn left(before: &Before, crowd: &Crowd, agent: &Agent, files: usize) -> Result<Vec<String>> {
    step("left", |_| {
        Footprint::of(agent)?.wait_at_rest(files)?;
        let changed = before.changed(crowd, agent)?;
        let detail = format!("{} pods, pins, files: {} differences", crowd.pods.len(), changed.len());
        let more = changed.len().saturating_sub(SHOWN);
        let told = changed.into_iter().take(SHOWN).map(|one| format!("detach, for it leaves behind: {one}"));
        Ok((told.chain((more > 0).then(|| format!("{more} more of these"))).collect(), detail))
    })
}
