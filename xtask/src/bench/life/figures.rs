// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures of an agent's life as they come, and the table of them.

use std::time::Duration;

use crate::bench::{
    footprint::Memory,
    report::table::{Table, cell},
    series::{Better, Series, Unit},
    statistics::Spread,
};

/// Calls of which one round of quantiles is made.
const ROUND: usize = 100;

/// Each with its case.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) series: Vec<Series>,
}

impl Figures {
    /// Adds one. Everything here is the better the less it is.
    pub(super) fn add(
        &mut self,
        measure: &str,
        case: &str,
        unit: Unit,
        rounds: impl IntoIterator<Item = f64>,
    ) {
        self.push(measure, case, unit, Better::Lower, rounds);
    }

    /// Adds how many calls in each second `count` of them in `time` are.
    pub(super) fn add_rate(&mut self, verb: &str, case: &str, count: usize, time: Duration) {
        let rate = count as f64 / time.as_secs_f64();
        self.push(&format!("{verb} rate"), case, Unit::PerSecond, Better::Higher, [rate]);
    }

    /// Adds the median and the 99th percentile of calls.
    pub(super) fn add_quantiles(&mut self, verb: &str, case: &str, times: &[Duration]) {
        let rounds = (times.len() / ROUND).max(1);
        for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
            let values =
                times.chunks(times.len().div_ceil(rounds).max(1)).map(|round| millis(quantile(round, share)));
            self.add(&format!("{verb} {name}"), case, Unit::Milliseconds, values);
        }
    }

    /// Adds both kinds of memory.
    pub(super) fn add_memory(&mut self, case: &str, memory: Memory) {
        self.add("memory RSS", case, Unit::Kibibytes, [memory.resident]);
        self.add("memory PSS", case, Unit::Kibibytes, [memory.proportional]);
    }

    fn push(
        &mut self,
        measure: &str,
        case: &str,
        unit: Unit,
        better: Better,
        rounds: impl IntoIterator<Item = f64>,
    ) {
        self.series.push(Series {
            measure: measure.to_owned(),
            case: case.to_owned(),
            variant: "netagent".to_owned(),
            unit,
            better,
            rounds: rounds.into_iter().map(Some).collect(),
        });
    }

    /// All of them, a row each.
    pub(super) fn table(&self, title: String) -> Table {
        let rows = self
            .series
            .iter()
            .map(|one| {
                let spread = Spread::of(one.rounds.iter().flatten().copied());
                vec![
                    format!("{}, {}", one.measure, one.case),
                    cell(spread, digits(spread.map_or(0.0, |spread| spread.median))),
                    one.unit.to_string(),
                ]
            })
            .collect();
        Table::new(title, vec!["", "figure", "unit"], rows)
    }
}

/// So many ports, as a case.
pub(super) fn ports(count: usize) -> String {
    if count == 1 { "1 port".to_owned() } else { format!("{count} ports") }
}

/// In milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The time that this share of `times` does not exceed.
pub(super) fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
}

/// Three significant ones.
fn digits(value: f64) -> usize {
    match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_occurred() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&times, share).as_millis()), [51, 100, 100]);
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn a_row_has_its_case_and_its_unit() {
        let mut figures = Figures::default();
        figures.add("attach", "first", Unit::Milliseconds, [12.345]);
        let shown = format!("{:?}", figures.table(String::new()));
        assert!(shown.contains(r#"["attach, first", "12.3", "ms"]"#), "{shown}");
    }
}
