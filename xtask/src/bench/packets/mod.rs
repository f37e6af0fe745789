// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single packets on one CPU: what each variant's path costs, and its programs.

mod figures;
pub(super) mod measure;
mod price;

use anyhow::Result;
use netagent_tests::interrupt;

use self::measure::{Case, Extent, Scenes};
use super::{
    load::{Cpus, frame::Frame},
    section::Section,
    step,
    variant::{Direction, Variant, Workshop},
};

const FULL: Extent = Extent { rounds: 25, frames: 40_000 };
const QUICK: Extent = Extent { rounds: 3, frames: 3_000 };
/// Of the rounds with the kernel's statistics on.
const PRICE_ROUNDS: u32 = 5;

/// What is measured, where not all is.
#[derive(Debug)]
pub(super) struct Choice {
    /// None: all that packets go through.
    pub(super) variants: Vec<Variant>,
    /// None: all.
    pub(super) frames_of: Vec<Frame>,
    pub(super) rounds: Option<u32>,
    pub(super) frames: Option<u64>,
    pub(super) quick: bool,
}

impl Choice {
    fn wants(&self, variant: Variant, workshop: &Workshop) -> bool {
        if variant.directions().is_empty() || variant == Variant::NetagentOther && workshop.other.is_none() {
            return false;
        }
        self.variants.is_empty() || self.variants.contains(&variant) || is_essential(variant)
    }

    fn frames_of(&self) -> Vec<Frame> {
        if self.frames_of.is_empty() { Frame::ALL.to_vec() } else { self.frames_of.clone() }
    }

    fn extent(&self) -> Extent {
        let default = if self.quick { QUICK } else { FULL };
        Extent {
            rounds: self.rounds.unwrap_or(default.rounds),
            frames: self.frames.unwrap_or(default.frames),
        }
    }
}

/// Measures every variant that can be built. An error when one is missing without which there is no comparison.
pub(super) fn section(workshop: &Workshop, cpus: Cpus, choice: &Choice) -> Result<Section> {
    let (scenes, mut absent) = build_all(workshop, choice)?;
    let cases = prove_all(&scenes, &choice.frames_of(), cpus, &mut absent)?;
    let extent = choice.extent();
    let measured = step("packets", |step| {
        let told = |round| step.note(format!("round {} of {}", round + 1, extent.rounds));
        let measured = measure::rounds(&scenes, &cases, cpus, extent, told)?;
        Ok((measured, format!("{} cases, {} rounds of {} frames", cases.len(), extent.rounds, extent.frames)))
    })?;
    let prices = step("programs", |step| {
        let extent = Extent { rounds: extent.rounds.min(PRICE_ROUNDS), ..extent };
        let told = |round| step.note(format!("round {} of {}", round + 1, extent.rounds));
        let prices = price::all(&scenes, &cases, cpus, extent, told)?;
        let detail = format!("{} run times, with BPF statistics on", prices.len());
        Ok((prices, detail))
    })?;
    Ok(figures::section(&measured, &prices, absent, extent))
}

/// All scenes stand at the same time: what one of them switches on in the kernel for all (static keys of the tc
/// hooks, for example), it switches on for each of them.
fn build_all(workshop: &Workshop, choice: &Choice) -> Result<(Box<Scenes>, Vec<String>)> {
    step("build", |step| {
        let (mut scenes, mut absent) = (Vec::new(), Vec::new());
        for variant in Variant::ALL.into_iter().filter(|variant| choice.wants(*variant, workshop)) {
            interrupt::check()?;
            step.note(format!("{variant:?}"));
            match variant.build(workshop) {
                Ok(scene) => scenes.push((variant, scene)),
                Err(error) if is_essential(variant) => {
                    return Err(error
                        .context(format!("cannot build {variant:?}, without which there is no comparison")));
                }
                Err(error) => absent.push(format!("{}: {error:#}", variant.title(Direction::FromVm))),
            }
        }
        let detail = format!("{} variants, each in a pod of its own", scenes.len());
        Ok(((scenes.into_boxed_slice(), absent), detail))
    })
}

/// Every case that brings its frames through.
fn prove_all(scenes: &Scenes, frames: &[Frame], cpus: Cpus, absent: &mut Vec<String>) -> Result<Vec<Case>> {
    step("prove", |step| {
        let mut cases = Vec::new();
        for (variant, scene) in scenes {
            // The guest speaks first: only then does a bridge know where it is.
            for direction in Direction::ALL {
                if !variant.directions().contains(&direction) {
                    continue;
                }
                for frame in frames {
                    let case = Case { variant: *variant, direction, frame: *frame };
                    step.note(format!("{}, {}", variant.title(direction), direction.title()));
                    match measure::prove(scene, case, cpus) {
                        Ok(()) => cases.push(case),
                        Err(error) if interrupt::requested() => return Err(error),
                        Err(error) => {
                            absent.push(format!("{}, {case}: {error:#}", variant.title(direction)));
                        }
                    }
                }
            }
        }
        let detail = format!("{} cases bring every frame through, {} do not", cases.len(), absent.len());
        Ok((cases, detail))
    })
}

/// The others can be missing of a kernel.
fn is_essential(variant: Variant) -> bool {
    matches!(variant, Variant::Floor | Variant::Redirect)
}
