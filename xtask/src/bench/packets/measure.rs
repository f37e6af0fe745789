// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rounds: every variant once in each, in an order that changes, so that none always follows the same neighbour.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::bench::{
    load::{Cpus, Sample, frame::Frame, from_vm, to_vm},
    order::order,
    scene::Scene,
    variant::{Direction, Variant},
};

/// Frames that a variant has to bring through before it is measured.
const PROOF: u64 = 2000;
/// How often it may try: on a busy machine the kernel's softirq thread can fall behind once.
const PROOF_TRIES: u32 = 3;
/// A bridge port forwards only some time after its tap was opened.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const READY_PROBE: u64 = 32;
/// Frames with a foreign source address against a guard.
const SPOOFED: u64 = 100;

/// Every variant that could be built.
pub(in crate::bench) type Scenes = [(Variant, Scene)];

/// One line of a table: what is measured again in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Case {
    /// Through what.
    pub(in crate::bench) variant: Variant,
    /// Which way.
    pub(in crate::bench) direction: Direction,
    /// What is sent.
    pub(in crate::bench) frame: Frame,
}

impl fmt::Display for Case {
    /// What the variants have in common.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.direction.title(), self.frame.title())
    }
}

/// A case with its samples, one of each round.
#[derive(Debug)]
pub(in crate::bench) struct Measured {
    pub(in crate::bench) case: Case,
    pub(in crate::bench) samples: Vec<Sample>,
}

impl Measured {
    /// Of each round; nothing where a frame was lost.
    pub(in crate::bench) fn ns_per_frame(&self) -> Vec<Option<f64>> {
        self.samples.iter().map(Sample::ns_per_frame).collect()
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Extent {
    /// How often everything is measured.
    pub(in crate::bench) rounds: u32,
    /// Small frames of one sample; of TSO frames as many fewer as they are dearer.
    pub(in crate::bench) frames: u64,
}

/// One sample of `case` in its scene: `frames` small frames, or the like.
pub(in crate::bench) fn sample(scene: &Scene, case: Case, cpus: Cpus, frames: u64) -> Result<Sample> {
    let frames = frames.div_ceil(case.frame.weight());
    match case.direction {
        Direction::FromVm => from_vm::sample(scene, cpus, case.frame, frames),
        Direction::ToVm => to_vm::sample(scene, cpus, case.frame, frames),
    }
}

/// Shows that every frame comes through, and that a guard stops what it should. An error says what did not.
pub(in crate::bench) fn prove(scene: &Scene, case: Case, cpus: Cpus) -> Result<()> {
    let started = Instant::now();
    while sample(scene, case, cpus, READY_PROBE)?.lost() > 0 {
        if started.elapsed() > READY_TIMEOUT {
            bail!(
                "it forwards nothing, or not all: frames were still missing after {} s",
                READY_TIMEOUT.as_secs()
            );
        }
    }
    let mut tries = 1;
    loop {
        let taken = sample(scene, case, cpus, PROOF)?;
        if taken.lost() == 0 {
            break;
        }
        if tries == PROOF_TRIES {
            bail!(
                "it loses frames: {} of {} did not arrive, in the last of {tries} tries",
                taken.lost(),
                taken.sent
            );
        }
        tries += 1;
    }
    if case.direction == Direction::FromVm && case.variant.guards() {
        prove_guard(scene)?;
    }
    Ok(())
}

fn prove_guard(scene: &Scene) -> Result<()> {
    let before = scene.from_vm.counter.read()?;
    let frame = Frame::Udp64.bytes(scene.spoofed());
    for _ in 0..SPOOFED {
        scene.tap.send(&frame)?;
    }
    // An honest frame behind them: when it is there, they would have been.
    scene.tap.send(&Frame::Udp64.bytes(scene.guest_to_gateway()))?;
    let arrived =
        netagent_tests::poll::try_until("an honest frame behind spoofed ones", READY_TIMEOUT, || {
            let arrived = scene.from_vm.counter.read()?.saturating_sub(before);
            Ok((arrived > 0).then_some(arrived))
        })?;
    if arrived != 1 {
        bail!(
            "its guard is not on: {} of {SPOOFED} frames with a foreign source address arrived",
            arrived - 1
        );
    }
    Ok(())
}

/// All rounds over all cases. `told` hears of each round before it begins.
pub(in crate::bench) fn rounds(
    scenes: &Scenes,
    cases: &[Case],
    cpus: Cpus,
    extent: Extent,
    told: impl Fn(u32),
) -> Result<Vec<Measured>> {
    let mut measured: Vec<Measured> =
        cases.iter().map(|case| Measured { case: *case, samples: Vec::new() }).collect();
    for round in 0..extent.rounds {
        told(round);
        for at in order(cases.len(), round) {
            let Some(Measured { case, samples }) = measured.get_mut(at) else { continue };
            let scene = scene_of(scenes, case.variant)?;
            let taken = sample(scene, *case, cpus, extent.frames)
                .with_context(|| format!("{}, {case}", case.variant.title(case.direction)))?;
            samples.push(taken);
        }
    }
    Ok(measured)
}

/// The scene of a variant.
pub(in crate::bench) fn scene_of(scenes: &Scenes, variant: Variant) -> Result<&Scene> {
    let found = scenes.iter().find(|(one, _)| *one == variant);
    found.map(|(_, scene)| scene).with_context(|| format!("{variant:?} has no scene"))
}
