// SPDX-License-Identifier: MIT OR Apache-2.0
//! All kernels side by side: a table for people, and the same as Markdown for docs/kernel-support.md.

use std::{fmt, time::Duration};

use super::outcome::Outcome;

const COLUMNS: [&str; 12] = [
    "asked for",
    "kernel",
    "boot",
    "loads",
    "bpf tests",
    "netns tests",
    "takes",
    "forwards",
    "real guest's lease",
    "TCP in/out Mbit/s",
    "time",
    "verdict",
];

/// All kernels.
pub(super) struct Report {
    outcomes: Vec<Outcome>,
    time: Duration,
}

impl Report {
    pub(super) fn new(outcomes: Vec<Outcome>, time: Duration) -> Self {
        Self { outcomes, time }
    }

    pub(super) fn is_good(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(Outcome::is_good)
    }

    /// Rows of a Markdown table, the head among them.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&COLUMNS.map(str::to_owned));
        text.push_str(&line(&COLUMNS.map(|_| "---".to_owned())));
        text.extend(self.outcomes.iter().map(|outcome| line(&cells(outcome))));
        text
    }
}

fn cells(outcome: &Outcome) -> [String; COLUMNS.len()] {
    let fact = |key| outcome.fact(key).unwrap_or("-").to_owned();
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    [
        outcome.wanted.clone(),
        outcome.version.clone(),
        outcome.boot.map_or_else(|| "-".to_owned(), seconds),
        fact("loads"),
        outcome.counts("bpf"),
        outcome.counts("netns"),
        match (outcome.fact("hook"), outcome.fact("tier")) {
            (Some(hook), Some(tier)) => format!("{hook}, {tier}"),
            _ => "-".to_owned(),
        },
        outcome.paths(),
        fact("lease"),
        format!("{}/{}", fact("iperf-in"), fact("iperf-out")),
        seconds(outcome.time),
        outcome.verdict().to_owned(),
    ]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.outcomes.iter().filter(|outcome| !outcome.is_good()) {
            write!(f, "{}", outcome.complaint())?;
        }
        let rows: Vec<_> = self.outcomes.iter().map(cells).collect();
        for (column, name) in COLUMNS.iter().enumerate() {
            write!(f, "{name:<21}")?;
            for row in &rows {
                // Wide tables break on a terminal: kernels are columns here, and there are few of them.
                write!(f, " {:<28}", row.get(column).map_or("-", String::as_str))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{} kernels in {:.0} s", self.outcomes.len(), self.time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kernel_is_no_success() {
        assert!(!Report::new(Vec::new(), Duration::ZERO).is_good());
    }

    #[test]
    fn every_kernel_is_a_row_of_as_many_cells_as_the_head() {
        let report = Report::new(vec![Outcome::sample("6.12")], Duration::ZERO);
        let text = report.markdown();
        let widths: Vec<_> = text.lines().map(|line| line.matches(" | ").count()).collect();
        assert_eq!(widths, [COLUMNS.len() - 1; 3], "{text}");
    }
}
