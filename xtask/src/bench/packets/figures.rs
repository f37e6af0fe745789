// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the samples say: a table for each direction and kind of frame, one of the programs, and what the guard costs.

use super::{
    measure::{Case, Extent, Measured},
    price::Price,
};
use crate::bench::{
    load::{Sample, frame::Frame},
    report::table::{NONE, Table, cell},
    section::{Section, TIME_PER_PACKET},
    series::{Better, Series, Unit},
    statistics::{Spread, paired},
    variant::{Direction, Variant},
};

const HEAD: [&str; 8] =
    ["", "ns/packet", "mean", "over floor, ns", "x floor", "x bpf_redirect", "of bridge's addition", "lost"];

/// Sums up.
pub(super) fn section(
    measured: &[Measured],
    prices: &[Price],
    mut absent: Vec<String>,
    extent: Extent,
) -> Section {
    let mut tables = Vec::new();
    for direction in Direction::ALL {
        for frame in Frame::ALL {
            let rows: Vec<_> = measured
                .iter()
                .filter(|one| one.case.direction == direction && one.case.frame == frame)
                .map(|one| row(one, measured))
                .collect();
            let title = format!("{}, {}: {}", direction.title(), frame.title(), direction.path());
            tables.push(Table::new(title, HEAD.to_vec(), rows));
        }
    }
    tables.push(programs(prices));
    tables.retain(|table| !table.is_empty());
    let never = measured.iter().filter(|one| one.ns_per_frame().iter().flatten().next().is_none());
    absent.extend(never.map(|one| {
        format!(
            "{}, {}: frames were lost in every round",
            one.case.variant.title(one.case.direction),
            one.case
        )
    }));
    let mut remarks = vec![format!(
        "{} rounds of {} small frames; of TSO frames as many fewer as they are dearer.",
        extent.rounds, extent.frames
    )];
    remarks.extend(guard_prices(prices));
    Section {
        name: "packets".to_owned(),
        title: "Packets: what one costs on one CPU".to_owned(),
        series: measured.iter().flat_map(of_samples).chain(prices.iter().flat_map(of_price)).collect(),
        tables,
        remarks,
        absent,
    }
}

fn row(one: &Measured, all: &[Measured]) -> Vec<String> {
    let case = one.case;
    let ours = one.ns_per_frame();
    let rounds_of = |variant| {
        let other = Case { variant, ..case };
        all.iter().find(|one| one.case == other).map(Measured::ns_per_frame).unwrap_or_default()
    };
    let (floor, redirect, bridge) =
        (rounds_of(Variant::Floor), rounds_of(Variant::Redirect), rounds_of(Variant::Bridge));
    let additions = |rounds: &[Option<f64>]| -> Vec<Option<f64>> {
        rounds.iter().zip(&floor).map(|(one, floor)| Some((*one)? - (*floor)?)).collect()
    };
    let mean = Spread::of(one.samples.iter().filter_map(Sample::mean_ns_per_frame));
    let lost: u64 = one.samples.iter().map(Sample::lost).sum();
    let sent: u64 = one.samples.iter().map(|sample| sample.sent).sum();
    vec![
        case.variant.title(case.direction).to_owned(),
        cell(Spread::of(ours.iter().flatten().copied()), 0),
        mean.map_or(NONE.to_owned(), |mean| format!("{:.0}", mean.median)),
        cell(paired(&ours, &floor, |our, floor| our - floor), 0),
        cell(paired(&ours, &floor, |our, floor| our / floor), 2),
        cell(paired(&ours, &redirect, |our, redirect| our / redirect), 2),
        cell(paired(&additions(&ours), &additions(&bridge), |our, bridge| our / bridge), 2),
        if lost == 0 { "0".to_owned() } else { format!("{lost} of {sent}") },
    ]
}

fn programs(prices: &[Price]) -> Table {
    let rows = prices
        .iter()
        .map(|Price { case, ns, facts }| {
            let verified = facts.verified_instructions;
            vec![
                format!("{}, {case}", case.variant.title(case.direction)),
                cell(Spread::of(ns.iter().copied()), 1),
                facts.instructions.to_string(),
                if verified == 0 { NONE.to_owned() } else { verified.to_string() },
                facts.jited_bytes.to_string(),
            ]
        })
        .collect();
    Table::new(
        "the programs' own run time (BPF statistics, whose clock is in every figure)".to_owned(),
        vec!["", "ns/run", "instructions", "verified", "machine code, B"],
        rows,
    )
}

/// What the guard costs: run time of the agent's program less that of the bare helper that leaves the same way.
fn guard_prices(prices: &[Price]) -> impl Iterator<Item = String> {
    prices.iter().filter_map(|guarded| {
        let case = guarded.case;
        let variant = match (case.variant, case.direction) {
            (Variant::NetagentPeer, Direction::FromVm) => Variant::RedirectPeer,
            (Variant::NetagentPlain, Direction::FromVm) => Variant::Redirect,
            (Variant::NetagentPeer, Direction::ToVm) => Variant::RedirectNoqueue,
            _ => return None,
        };
        let bare = prices.iter().find(|price| price.case == Case { variant, ..case })?;
        let [guarded, bare] = [guarded, bare].map(|price| Spread::of(price.ns.iter().copied()));
        Some(format!(
            "The guard's price, {}, {case}: {:.0} ns of program run time.",
            case.variant.title(case.direction),
            guarded?.median - bare?.median,
        ))
    })
}

fn of_samples(one: &Measured) -> [Series; 2] {
    let lost = one.samples.iter().map(|sample| Some(sample.lost() as f64)).collect();
    [
        of_case(one.case, TIME_PER_PACKET, Unit::Nanoseconds, one.ns_per_frame()),
        of_case(one.case, "lost frames", Unit::Count, lost),
    ]
}

fn of_price(price: &Price) -> [Series; 2] {
    let instructions = vec![Some(f64::from(price.facts.instructions))];
    [
        of_case(
            price.case,
            "program run time",
            Unit::Nanoseconds,
            price.ns.iter().copied().map(Some).collect(),
        ),
        of_case(price.case, "program instructions", Unit::Count, instructions),
    ]
}

fn of_case(case: Case, measure: &str, unit: Unit, rounds: Vec<Option<f64>>) -> Series {
    Series {
        measure: measure.to_owned(),
        case: case.to_string(),
        variant: case.variant.name(),
        unit,
        better: Better::Lower,
        rounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(variant: Variant, ns: &[u64]) -> Measured {
        let case = Case { variant, direction: Direction::FromVm, frame: Frame::Udp64 };
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
        let cells = row(&all[3], &all);
        assert_eq!(
            cells[1..],
            ["825 ± 275", "825", "75 ± 25", "1.10 ± 0.00", "0.69 ± 0.00", "0.07 ± 0.00", "0"]
        );
    }

    #[test]
    fn rounds_that_lose_frames_are_counted_but_not_timed() {
        let mut lossy = measured(Variant::Mirred, &[100, 900]);
        lossy.samples[0].arrived = 3;
        let cells = row(&lossy, &[]);
        assert_eq!((cells[1].as_str(), cells[4].as_str(), cells[7].as_str()), ("900", NONE, "7 of 20"));
        let extent = Extent { rounds: 2, frames: 10 };
        assert!(section(&[lossy], &[], Vec::new(), extent).absent.is_empty());
        let mut lost = measured(Variant::Mirred, &[100]);
        lost.samples[0].arrived = 3;
        let absent = section(&[lost], &[], Vec::new(), extent).absent;
        assert_eq!(absent, ["tc mirred, u32, VM -> node, 64 B: frames were lost in every round"]);
    }
}
