// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a packet costs at one port while others come to stand beside it, several at a time.
//!
//! A second agent has one port only, and is measured in the same rounds: what drifts in the machine drifts in both.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Result;
use netagent_tests::{agent::Agent, interrupt, poll};

use super::{
    call::{attach, detach},
    figures::{Figures, millis, ports},
};
use crate::bench::{
    crowd::Crowd,
    footprint::Footprint,
    hands::each,
    load::{Cpus, frame::Frame},
    packets::measure::{self, Case, Extent, Scenes},
    report::table::{Table, cell},
    section::TIME_PER_PACKET,
    series::{Better, Series, Unit},
    statistics::{Spread, paired},
    step,
    variant::{Direction, Variant, Workshop},
};

/// Ports that come and go at a time.
const HANDS: usize = 8;
/// The port among others, and the one of the agent that has no other.
const VARIANTS: [Variant; 2] = [Variant::NetagentPeer, Variant::NetagentOther];
const FULL: Extent = Extent { rounds: 25, frames: 40_000 };
const QUICK: Extent = Extent { rounds: 1, frames: 3_000 };
/// Until the agent has noticed that a pod is gone.
const GONE: Duration = Duration::from_secs(60);

/// Ports that stand, and what was measured at one of them.
#[derive(Debug)]
pub(super) struct Crowded {
    pub(super) series: Vec<Series>,
    /// What could not be measured, with the reason.
    pub(super) absent: Vec<String>,
    /// The port of the packets, and that of the other agent.
    scenes: Box<Scenes>,
    /// Pods of the crowd that have a port.
    taken: usize,
}

impl Crowded {
    /// Measures at 1, 10, 100 and all ports: one of them is that of the packets, the others are in pods of `crowd`.
    pub(super) fn come(
        figures: &mut Figures,
        workshop: &Workshop,
        crowd: &Crowd,
        cpus: Cpus,
        quick: bool,
    ) -> Result<Self> {
        let agent = &workshop.agent;
        let footprint = Footprint::of(agent)?;
        let files = footprint.open_files()?;
        figures.add_memory(&ports(0), footprint.memory()?);
        let (scenes, cases, absent) = scenes(workshop, cpus)?;
        let extent = if quick { QUICK } else { FULL };
        let mut series = Vec::new();
        let mut taken = 0;
        let (mut time, mut cpu) = (Duration::ZERO, Duration::ZERO);
        step("crowded", |step| {
            for level in levels(crowd.pods.len()) {
                step.note(ports(level));
                let before = footprint.cpu()?;
                time += several(taken..level - 1, |at| attach(agent, &crowd.pods[at]))?;
                cpu += footprint.cpu()?.saturating_sub(before);
                taken = level - 1;
                footprint.wait_at_rest(files)?;
                figures.add_memory(&ports(level), footprint.memory()?);
                let measured = measure::rounds(&scenes, &cases, cpus, extent, |_| ())?;
                series.extend(measured.iter().map(|one| Series {
                    measure: TIME_PER_PACKET.to_owned(),
                    case: case(one.case.direction, level),
                    variant: one.case.variant.name(),
                    unit: Unit::Nanoseconds,
                    better: Better::Lower,
                    rounds: one.ns_per_frame(),
                }));
            }
            Ok(((), format!("{}; {} rounds at each number of them", ports(taken + 1), extent.rounds)))
        })?;
        add(figures, "attach", taken, time, cpu);
        Ok(Self { series, absent, scenes, taken })
    }

    /// Takes all of them off, several at a time.
    pub(super) fn go(
        self,
        figures: &mut Figures,
        agent: &Agent,
        crowd: &Crowd,
    ) -> Result<(Vec<Series>, Vec<String>)> {
        let footprint = Footprint::of(agent)?;
        step("go", |_| {
            let before = footprint.cpu()?;
            let time = several(0..self.taken, |at| detach(agent, &crowd.pods[at]))?;
            add(figures, "detach", self.taken, time, footprint.cpu()?.saturating_sub(before));
            Ok(((), format!("{}, {HANDS} at a time", ports(self.taken))))
        })?;
        // The last port goes with its pod.
        drop(self.scenes);
        poll::try_until("the last port to be gone with its pod", GONE, || {
            Ok(agent.json(&["status"])?.as_array().is_some_and(Vec::is_empty).then_some(()))
        })?;
        Ok((self.series, self.absent))
    }
}

fn add(figures: &mut Figures, verb: &str, count: usize, time: Duration, cpu: Duration) {
    let case = format!("{HANDS} at a time");
    figures.add(&format!("{verb} {}", ports(count)), &case, Unit::Milliseconds, [millis(time)]);
    figures.add_rate(verb, &case, count, time);
    let each = millis(cpu) / count as f64;
    figures.add(&format!("agent CPU time per {verb}"), &case, Unit::Milliseconds, [each]);
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
    let head = vec!["", "ns/packet", "at an agent with one port", "ratio", "x at 1 port"];
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

/// Does `work` for each of `range`, several at a time, and takes the time of all of it.
fn several(range: Range<usize>, work: impl Fn(usize) -> Result<Duration> + Sync) -> Result<Duration> {
    let started = Instant::now();
    each(HANDS, range.len(), |at| work(range.start + at))?;
    Ok(started.elapsed())
}

/// The last one is all ports.
fn levels(ports: usize) -> Vec<usize> {
    [1, 10, 100].into_iter().filter(|level| *level < ports).chain([ports]).collect()
}

fn case(direction: Direction, level: usize) -> String {
    format!("{}, 64 B, {}", direction.title(), ports(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_level_is_all_ports() {
        assert_eq!(levels(1000), [1, 10, 100, 1000]);
        assert_eq!(levels(20), [1, 10, 20]);
        assert_eq!(levels(100), [1, 10, 100]);
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_then_against_one_port() {
        let series = |ports: usize, variant: Variant, rounds: [f64; 2]| Series {
            measure: TIME_PER_PACKET.to_owned(),
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
            series(2, crowded, [484.0, 968.0]),
            series(2, lone, [400.0, 800.0]),
        ];
        let shown = format!("{:?}", table(&all, 2));
        assert!(shown.contains(r#""1.100 ± 0.000", "1.000"], ["VM -> node, 64 B, 2 ports""#), "{shown}");
        assert!(shown.contains(r#""726 ± 242", "600 ± 200", "1.210 ± 0.000", "1.100"]"#), "{shown}");
    }
}
