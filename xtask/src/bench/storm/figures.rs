// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the boots say, in a row for each time over which the guests began.

use std::time::Duration;

use super::{OVER, Sample};
use crate::bench::{
    report::table::{Table, cell},
    section::Section,
    series::{Better, Series, Unit},
    statistics::Spread,
};

/// One figure of a boot.
struct Figure {
    measure: &'static str,
    /// Of the table's column.
    head: &'static str,
    unit: Unit,
    of: fn(&Sample) -> f64,
}

const FIGURES: [Figure; 6] = [
    Figure {
        measure: "all bound",
        head: "all bound, ms",
        unit: Unit::Milliseconds,
        of: |sample| sample.boot.all_bound_us as f64 / 1e3,
    },
    Figure {
        measure: "bound p50",
        head: "p50, ms",
        unit: Unit::Milliseconds,
        of: |sample| sample.boot.quantile_us(0.5) as f64 / 1e3,
    },
    Figure {
        measure: "bound p99",
        head: "p99, ms",
        unit: Unit::Milliseconds,
        of: |sample| sample.boot.quantile_us(0.99) as f64 / 1e3,
    },
    Figure {
        measure: "bound longest",
        head: "longest, ms",
        unit: Unit::Milliseconds,
        of: |sample| sample.boot.quantile_us(1.0) as f64 / 1e3,
    },
    Figure {
        measure: "agent CPU time per guest",
        head: "agent CPU, us/guest",
        unit: Unit::Microseconds,
        of: |sample| sample.cpu.as_secs_f64() * 1e6 / sample.boot.latency_us.len() as f64,
    },
    Figure {
        measure: "DISCOVERs said again",
        head: "said again",
        unit: Unit::Count,
        of: |sample| f64::from(sample.boot.retried),
    },
];

/// Sums up. `samples` are of each of `OVER`, `most` is what the agent's memory came to.
pub(super) fn section(samples: &[Vec<Sample>; OVER.len()], guests: usize, most: f64) -> Section {
    let begin = OVER.map(begin);
    let mut series = Vec::new();
    let mut rows = Vec::new();
    for (begin, samples) in begin.iter().zip(samples) {
        let mut row = vec![begin.clone()];
        for Figure { measure, unit, of, .. } in &FIGURES {
            let rounds: Vec<f64> = samples.iter().map(of).collect();
            row.push(cell(Spread::of(rounds.iter().copied()), 1));
            series.push(one(measure, format!("{guests} guests, {begin}"), *unit, &rounds));
        }
        rows.push(row);
    }
    series.push(one("memory, at most", format!("{guests} guests"), Unit::Kibibytes, &[most]));
    let head = std::iter::once("guests begin").chain(FIGURES.iter().map(|figure| figure.head)).collect();
    Section {
        name: "storm".to_owned(),
        title: "Storm: all guests boot at once, DHCPv4 from DISCOVER to ACK, with the guests' own part"
            .to_owned(),
        series,
        tables: vec![Table::new(format!("{guests} guests"), head, rows)],
        remarks: vec![format!("The agent's resident memory was {:.1} MiB at most.", most / 1024.0)],
        absent: Vec::new(),
    }
}

fn one(measure: &str, case: String, unit: Unit, rounds: &[f64]) -> Series {
    Series {
        measure: measure.to_owned(),
        case,
        variant: "netagent".to_owned(),
        unit,
        better: Better::Lower,
        rounds: rounds.iter().copied().map(Some).collect(),
    }
}

fn begin(over: Duration) -> String {
    match over.as_millis() {
        0 => "at once".to_owned(),
        time @ 1..1000 => format!("within {time} ms"),
        time => format!("within {} s", time / 1000),
    }
}
