// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures of a run, and what is derived from them. Everything that is shown comes from here.

pub(super) mod page;
pub(super) mod table;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    bpf::attach::Hook,
    load::{Cpus, Sample},
    machine::Machine,
    measure::{Case, Extent, Measured},
    price::Price,
    statistics::{Spread, paired},
    variant::{Direction, Variant},
};

/// Layout of the JSON. Changes when a field changes its meaning or goes.
const FORMAT: u32 = 1;

/// A whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: u32,
    pub(super) machine: Machine,
    pub(super) cpus: Cpus,
    pub(super) hook: Hook,
    pub(super) extent: Extent,
    /// A smoke test: its figures are not for judging.
    pub(super) quick: bool,
    pub(super) rows: Vec<Row>,
    pub(super) prices: Vec<Price>,
    pub(super) absent: Vec<Absent>,
    /// Every sample of every round.
    measured: Vec<Measured>,
}

/// One case, summed up.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) case: Case,
    /// Nanoseconds per frame in the median slice, over the rounds that lost none; nothing if each lost some.
    pub(super) ns: Option<Spread>,
    /// Nanoseconds per frame with the moments in which somebody else had the CPU: far above `ns`, the machine was
    /// busy, or the kernel put work off.
    pub(super) mean_ns: Option<Spread>,
    /// Nanoseconds more than the floor of the same round.
    pub(super) over_floor_ns: Option<Spread>,
    /// Times the floor of the same round.
    pub(super) of_floor: Option<Spread>,
    /// Times `bpf_redirect` alone in the same round.
    pub(super) of_redirect: Option<Spread>,
    /// What it adds to the floor, as a part of what the bridge adds in the same round.
    pub(super) of_bridge_addition: Option<Spread>,
    /// Frames that did not arrive, of all that were sent.
    pub(super) lost: u64,
    /// Frames that were sent.
    pub(super) sent: u64,
    /// How often the sender lost its CPU.
    pub(super) preempted: u64,
}

/// A variant that was not measured, and why.
#[derive(Debug, Serialize)]
pub(super) struct Absent {
    pub(super) variant: Variant,
    pub(super) direction: Option<Direction>,
    pub(super) reason: String,
}

/// What a run brings besides its samples.
#[derive(Debug)]
pub(super) struct Circumstances {
    pub(super) machine: Machine,
    pub(super) cpus: Cpus,
    pub(super) hook: Hook,
    pub(super) extent: Extent,
    pub(super) quick: bool,
}

impl Report {
    /// Sums up.
    pub(super) fn new(
        about: Circumstances,
        measured: Vec<Measured>,
        prices: Vec<Price>,
        absent: Vec<Absent>,
    ) -> Self {
        let Circumstances { machine, cpus, hook, extent, quick } = about;
        let rows = measured.iter().map(|one| Row::new(one, &measured)).collect();
        Self { format: FORMAT, machine, cpus, hook, extent, quick, rows, prices, absent, measured }
    }

    /// All of it as JSON.
    pub(super) fn json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("cannot write the report as JSON")?;
        text.push('\n');
        Ok(text)
    }

    /// Whether every variant has a figure in every case that it was built for.
    pub(super) fn is_complete(&self) -> bool {
        self.absent.is_empty() && self.rows.iter().all(|row| row.ns.is_some())
    }

    /// What the guard costs: run time of the agent's program less that of the bare helper that leaves the same way.
    pub(super) fn guard_prices(&self) -> Vec<(Case, f64)> {
        let bare_of = |case: Case| {
            let variant = match (case.variant, case.direction) {
                (Variant::NetagentPeer, Direction::FromVm) => Variant::RedirectPeer,
                (Variant::NetagentPlain, Direction::FromVm) => Variant::Redirect,
                (Variant::NetagentPeer, Direction::ToVm) => Variant::RedirectNoqueue,
                _ => return None,
            };
            let bare = Case { variant, ..case };
            self.prices.iter().find(|price| price.case == bare)
        };
        self.prices
            .iter()
            .filter_map(|price| Some((price.case, price.ns.median - bare_of(price.case)?.ns.median)))
            .collect()
    }
}

impl Row {
    fn new(of: &Measured, all: &[Measured]) -> Self {
        let case = of.case;
        let ours = of.ns_per_frame();
        let rounds_of = |variant| {
            let other = Case { variant, ..case };
            all.iter().find(|one| one.case == other).map(Measured::ns_per_frame).unwrap_or_default()
        };
        let (floor, redirect, bridge) =
            (rounds_of(Variant::Floor), rounds_of(Variant::Redirect), rounds_of(Variant::Bridge));
        let additions = |rounds: &[Option<f64>]| -> Vec<Option<f64>> {
            rounds.iter().zip(&floor).map(|(one, floor)| Some((*one)? - (*floor)?)).collect()
        };
        Self {
            case,
            ns: Spread::of(ours.iter().flatten().copied()),
            mean_ns: Spread::of(of.samples.iter().filter_map(Sample::mean_ns_per_frame)),
            over_floor_ns: paired(&ours, &floor, |our, floor| our - floor),
            of_floor: paired(&ours, &floor, |our, floor| our / floor),
            of_redirect: paired(&ours, &redirect, |our, redirect| our / redirect),
            of_bridge_addition: paired(&additions(&ours), &additions(&bridge), |our, bridge| our / bridge),
            lost: of.samples.iter().map(Sample::lost).sum(),
            sent: of.samples.iter().map(|sample| sample.sent).sum(),
            preempted: of.samples.iter().map(|sample| sample.preempted).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(variant: Variant, ns: &[u64]) -> Measured {
        let case =
            Case { variant, direction: Direction::FromVm, frame: crate::bench::load::frame::Frame::Udp64 };
        let samples = ns
            .iter()
            .map(|&ns| Sample {
                sent: 10,
                arrived: 10,
                ns: ns * 10,
                slice_ns: ns as f64,
                waited_ns: 0,
                preempted: 0,
                slept: 0,
            })
            .collect();
        Measured { case, samples }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let all = [
            measured(Variant::Floor, &[500, 1000]),
            measured(Variant::Redirect, &[800, 1600]),
            measured(Variant::Bridge, &[1200, 2400]),
            measured(Variant::NetagentPeer, &[550, 1100]),
        ];
        let row = Row::new(&all[3], &all);
        assert_eq!(row.of_floor.unwrap().median, 1.1);
        assert_eq!(row.of_redirect.unwrap().median, 0.6875);
        assert!((row.of_bridge_addition.unwrap().median - 50.0 / 700.0).abs() < 1e-9);
        assert_eq!(row.over_floor_ns.unwrap().median, 75.0);
    }

    #[test]
    fn rounds_that_lose_frames_are_counted_but_not_timed() {
        let mut lossy = measured(Variant::Mirred, &[100, 900]);
        lossy.samples[0].arrived = 3;
        let row = Row::new(&lossy, &[]);
        assert_eq!((row.lost, row.sent), (7, 20));
        assert_eq!(row.ns.unwrap().median, 900.0);
        assert_eq!(row.of_floor, None);
    }
}
