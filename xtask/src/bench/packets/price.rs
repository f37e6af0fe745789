// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the programs themselves cost: their run time by the kernel's own clock, and their size.

use anyhow::{Result, bail};

use super::measure::{self, Case, Extent, Scenes};
use crate::bench::{
    bpf::{
        program::{Facts, Program},
        stats::RunTimes,
    },
    load::Cpus,
    scene::Scene,
    variant::Direction,
};

/// A program's run time. The kernel reads its clock before and after each run, which is part of the figure: only
/// differences between programs mean something.
#[derive(Clone, Debug)]
pub(super) struct Price {
    pub(super) case: Case,
    /// Nanoseconds per run, of each round.
    pub(super) ns: Vec<f64>,
    pub(super) facts: Facts,
}

/// Of every program on the path of a case, in interleaved rounds. Statistics are on meanwhile and slow all paths
/// down: what this sends is not among the other figures.
pub(super) fn all(
    scenes: &Scenes,
    cases: &[Case],
    cpus: Cpus,
    extent: Extent,
    told: impl Fn(u32),
) -> Result<Vec<Price>> {
    let mut priced = Vec::new();
    for case in cases {
        let scene = measure::scene_of(scenes, case.variant)?;
        if let Some(program) = program_of(scene, case.direction) {
            priced.push((*case, scene, program, Vec::new()));
        }
    }
    let _on = RunTimes::enable()?;
    for round in 0..extent.rounds {
        told(round);
        for (case, scene, program, values) in &mut priced {
            values.push(run(scene, *case, program, cpus, extent.frames)?);
        }
    }
    priced.into_iter().map(|(case, _, program, ns)| Ok(Price { case, ns, facts: program.facts()? })).collect()
}

fn program_of(scene: &Scene, direction: Direction) -> Option<&Program> {
    match direction {
        Direction::FromVm => scene.wired.programs.from_vm.as_ref(),
        Direction::ToVm => scene.wired.programs.to_vm.as_ref(),
    }
}

fn run(scene: &Scene, case: Case, program: &Program, cpus: Cpus, frames: u64) -> Result<f64> {
    let before = program.facts()?;
    let sent = measure::sample(scene, case, cpus, frames)?.sent;
    let after = program.facts()?;
    let runs = after.runs.saturating_sub(before.runs);
    if runs < sent {
        bail!(
            "{}, {case}: {sent} frames were sent, but the program ran {runs} times: it is not on their path",
            case.variant.title(case.direction),
        );
    }
    Ok(after.run_ns.saturating_sub(before.run_ns) as f64 / runs as f64)
}
