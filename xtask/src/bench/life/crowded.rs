// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a packet costs at one port while others stand beside it, and how fast these come and go several at a time.
//!
//! A second agent has one port only, and is measured in the same rounds: what drifts in the machine drifts in both.

use std::time::{Duration, Instant};

use anyhow::Result;
use netagent_tests::interrupt;

use super::{
    call::{attach, detach},
    figures::{Figures, millis},
};
use crate::bench::{
    crowd::Crowd,
    footprint::Footprint,
    hands::each,
    load::{Cpus, frame::Frame},
    measure::{self, Case, Extent, Scenes},
    report::table::{Table, cell},
    series::{Better, Series, Unit},
    statistics::{Spread, paired},
    step,
    variant::{Direction, Variant, Workshop},
};

/// Ports that come and go at a time.
const HANDS: usize = 8;
/// The port among others, and the one of the agent that has no other.
const VARIANTS: [Variant; 2] = [Variant::NetagentPeer, Variant::NetagentOther];
const FULL: Extent = Extent { rounds: 15, frames: 20_000 };
const QUICK: Extent = Extent { rounds: 1, frames: 3_000 };
const MEASURE: &str = "time per packet";

/// Measures at 1, 10, 100 and all ports: one of them is that of the packets, the others are in the pods of `crowd`.
pub(super) fn measure(
    figures: &mut Figures,
    workshop: &Workshop,
    crowd: &Crowd,
    cpus: Cpus,
    quick: bool,
) -> Result<(Vec<Series>, Vec<String>)> {
    let footprint = Footprint::of(&workshop.agent)?;
    let files = footprint.open_files()?;
    let (scenes, cases, absent) = scenes(workshop, cpus)?;
    let extent = if quick { QUICK } else { FULL };
    let mut series = Vec::new();
    let mut attaching = Duration::ZERO;
    let mut there = 0;
    step("crowded", |step| {
        for ports in levels(crowd.pods.len()) {
            step.note(format!("{ports} ports"));
            attaching += at_a_time(there..ports - 1, |at| attach(&workshop.agent, &crowd.pods[at]))?;
            there = ports - 1;
            footprint.wait_at_rest(files)?;
            let measured = measure::rounds(&scenes, &cases, cpus, extent, |_| ())?;
            series.extend(measured.iter().map(|one| Series {
                measure: MEASURE.to_owned(),
                case: case(one.case.direction, ports),
                variant: one.case.variant.name(),
                unit: Unit::Nanoseconds,
                better: Better::Lower,
                rounds: one.ns_per_frame(),
            }));
        }
        Ok(((), format!("{} rounds at each of {:?} ports", extent.rounds, levels(crowd.pods.len()))))
    })?;
    let case = format!("{there} ports, {HANDS} at a time");
    figures.add("attach all", &case, Unit::Milliseconds, [millis(attaching)]);
    figures.add_rate("attaches per second", &case, there, attaching);
    let detaching = at_a_time(0..there, |at| detach(&workshop.agent, &crowd.pods[at]))?;
    figures.add("detach all", &case, Unit::Milliseconds, [millis(detaching)]);
    Ok((series, absent))
}

/// A row for each direction and number of ports.
pub(super) fn table(series: &[Series], ports: usize) -> Table {
    let rounds = |case: &str, variant: Variant| {
        let found = series.iter().find(|one| one.case == case && one.variant == variant.name());
        found.map(|one| one.rounds.as_slice()).unwrap_or_default()
    };
    let mut rows = Vec::new();
    for direction in Direction::ALL {
        let mut of_one = None;
        for level in levels(ports) {
            let case = case(direction, level);
            let [ours, lone] = VARIANTS.map(|variant| rounds(&case, variant));
            let ratio = paired(ours, lone, |ours, lone| ours / lone);
            let of_one = *of_one.get_or_insert(ratio.map(|ratio| ratio.median));
            let against = ratio.zip(of_one).map(|(ratio, of_one)| format!("{:.3}", ratio.median / of_one));
            rows.push(vec![
                case,
                cell(Spread::of(ours.iter().flatten().copied()), 0),
                cell(Spread::of(lone.iter().flatten().copied()), 0),
                cell(ratio, 3),
                against.unwrap_or_default(),
            ]);
        }
    }
    let head = vec!["", "ns/packet", "agent with one port", "ratio", "x at 1 port"];
    Table::new("a packet at one port, others standing beside it".to_owned(), head, rows)
}

/// Both ports, and the cases that bring their frames through.
fn scenes(workshop: &Workshop, cpus: Cpus) -> Result<(Box<Scenes>, Vec<Case>, Vec<String>)> {
    let (mut scenes, mut cases, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for variant in VARIANTS {
        match variant.build(workshop) {
            Ok(scene) => scenes.push((variant, scene)),
            Err(error) if interrupt::requested() => return Err(error),
            Err(error) => absent.push(format!("{}: {error:#}", variant.name())),
        }
    }
    for (variant, scene) in &scenes {
        for direction in Direction::ALL {
            let case = Case { variant: *variant, direction, frame: Frame::Udp64 };
            match measure::prove(scene, case, cpus) {
                Ok(()) => cases.push(case),
                Err(error) if interrupt::requested() => return Err(error),
                Err(error) => absent.push(format!("{}, {}: {error:#}", variant.name(), direction.title())),
            }
        }
    }
    Ok((scenes.into(), cases, absent))
}

/// Does `work` for each of `range`, and takes the time of all of it.
fn at_a_time(
    range: std::ops::Range<usize>,
    work: impl Fn(usize) -> Result<Duration> + Sync,
) -> Result<Duration> {
    let started = Instant::now();
    each(HANDS, range.len(), |at| work(range.start + at))?;
    Ok(started.elapsed())
}

fn levels(ports: usize) -> Vec<usize> {
    [1, 10, 100].into_iter().filter(|level| *level < ports).chain([ports]).collect()
}

fn case(direction: Direction, ports: usize) -> String {
    let plural = if ports == 1 { "port" } else { "ports" };
    format!("{}, 64 B, {ports} {plural}", direction.title())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_level_is_all_ports() {
        assert_eq!(levels(1000), [1, 10, 100, 1000]);
        assert_eq!(levels(20), [1, 10, 20]);
        assert_eq!(levels(100), [1, 10, 100]);
        assert_eq!(levels(1), [1]);
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_then_against_one_port() {
        let series = |ports: usize, variant: Variant, rounds: [f64; 2]| Series {
            measure: MEASURE.to_owned(),
            case: case(Direction::FromVm, ports),
            variant: variant.name(),
            unit: Unit::Nanoseconds,
            better: Better::Lower,
            rounds: rounds.map(Some).to_vec(),
        };
        let [crowded, lone] = VARIANTS;
        // The machine gets slower from round to round, and slower again with many ports.
        let all = [
            series(1, crowded, [110.0, 220.0]),
            series(1, lone, [100.0, 200.0]),
            series(2, crowded, [440.0, 880.0]),
            series(2, lone, [400.0, 800.0]),
        ];
        let shown = format!("{:?}", table(&all, 2));
        assert!(shown.contains(r#""1.100 ± 0.000", "1.000"], ["VM -> node, 64 B, 2 ports""#), "{shown}");
        assert!(shown.contains(r#""660 ± 220", "600 ± 200", "1.100 ± 0.000", "1.000"]"#), "{shown}");
    }
}
