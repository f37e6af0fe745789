// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures as tables, for a terminal and for Markdown.

use super::{Report, Row};
use crate::bench::{
    load::frame::Frame, price::Price, section::Section, statistics::Spread, variant::Direction,
};

/// Rows of cells under a head.
#[derive(Debug)]
pub(in crate::bench) struct Table {
    pub(super) title: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

const NONE: &str = "–";

/// The whole report for a terminal.
pub(in crate::bench) fn text(report: &Report) -> String {
    let mut text = format!(
        "{}\nhook {}, load on CPU {}, ring emptied on CPU {}; {} rounds of {} frames; median ± median absolute \
         deviation; ratios are taken within a round\n",
        report.machine.line(),
        report.hook,
        report.cpus.load,
        report.cpus.drain,
        report.extent.rounds,
        report.extent.frames,
    );
    for table in tables(report) {
        text.push_str(&format!("\n{}\n{}", table.title, table.plain()));
    }
    text.push_str(&remarks(report).iter().map(|line| format!("\n{line}")).collect::<String>());
    text.push('\n');
    text
}

/// One part for a terminal.
pub(in crate::bench) fn of_section(section: &Section) -> String {
    let mut text = format!("{}\n", section.title);
    for table in &section.tables {
        text.push_str(&format!("\n{}\n{}", table.title, table.plain()));
    }
    let absent = section.absent.iter().map(|reason| format!("not measured: {reason}"));
    text.push_str(
        &section.remarks.iter().cloned().chain(absent).map(|line| format!("\n{line}")).collect::<String>(),
    );
    text.push('\n');
    text
}

/// Costs per direction and frame size, then the programs.
pub(super) fn tables(report: &Report) -> Vec<Table> {
    let mut tables = Vec::new();
    for direction in Direction::ALL {
        for frame in Frame::ALL {
            let rows =
                report.rows.iter().filter(|row| row.case.direction == direction && row.case.frame == frame);
            tables.push(costs(direction, frame, rows));
        }
    }
    tables.push(programs(&report.prices));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// What a reader must know besides the tables.
pub(super) fn remarks(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report
        .guard_prices()
        .into_iter()
        .map(|(case, ns)| {
            format!(
                "guard's price, {}, {}, {}: {ns:.0} ns of program run time",
                case.direction.title(),
                case.frame.title(),
                case.variant.title(case.direction),
            )
        })
        .collect();
    lines.extend(report.absent.iter().map(|absent| {
        let direction = absent.direction.map_or("both directions", Direction::title);
        let title = absent.variant.title(absent.direction.unwrap_or(Direction::FromVm));
        format!("not measured: {title}, {direction}: {}", absent.reason)
    }));
    if report.machine.is_busy() {
        lines.push(format!(
            "the machine was not quiet (load average {}): do not quote these figures",
            report.machine.load_average
        ));
    }
    if report.quick {
        lines.push(
            "a smoke test: that everything forwards and is counted is shown, the figures are not for judging"
                .to_owned(),
        );
    }
    lines
}

fn costs<'a>(direction: Direction, frame: Frame, rows: impl Iterator<Item = &'a Row>) -> Table {
    let rows = rows
        .map(|row| {
            vec![
                row.case.variant.title(direction).to_owned(),
                cell(row.ns, 0),
                row.mean_ns.map_or(NONE.to_owned(), |mean| format!("{:.0}", mean.median)),
                cell(row.over_floor_ns, 0),
                cell(row.of_floor, 2),
                cell(row.of_redirect, 2),
                cell(row.of_bridge_addition, 2),
                if row.lost == 0 { "0".to_owned() } else { format!("{} of {}", row.lost, row.sent) },
            ]
        })
        .collect();
    Table {
        title: format!("{}, {}: {}", direction.title(), frame.title(), direction.path()),
        head: vec![
            "",
            "ns/packet",
            "mean",
            "over floor, ns",
            "x floor",
            "x bpf_redirect",
            "of bridge's addition",
            "lost",
        ],
        rows,
    }
}

fn programs(prices: &[Price]) -> Table {
    let rows = prices
        .iter()
        .map(|Price { case, ns, facts }| {
            vec![
                format!(
                    "{}, {}, {}",
                    case.variant.title(case.direction),
                    case.direction.title(),
                    case.frame.title()
                ),
                cell(Some(*ns), 1),
                facts.instructions.to_string(),
                if facts.verified_instructions == 0 {
                    NONE.to_owned()
                } else {
                    facts.verified_instructions.to_string()
                },
                facts.jited_bytes.to_string(),
            ]
        })
        .collect();
    Table {
        title: "the programs' own run time (BPF statistics, whose clock is in every figure)".to_owned(),
        head: vec!["", "ns/run", "instructions", "verified", "machine code, B"],
        rows,
    }
}

/// As in `12.3 ± 0.4`.
pub(in crate::bench) fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or(NONE.to_owned(), |spread| {
        format!("{:.digits$} ± {:.digits$}", spread.median, spread.deviation)
    })
}

impl Table {
    /// The first column is of names, the others of figures.
    pub(in crate::bench) fn new(title: String, head: Vec<&'static str>, rows: Vec<Vec<String>>) -> Self {
        Self { title, head, rows }
    }

    /// Columns of equal width, numbers to the right.
    fn plain(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.head.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .zip(&widths)
                .enumerate()
                .map(
                    |(at, (cell, width))| {
                        if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    },
                )
                .collect();
            format!("  {}\n", padded.join("  ").trim_end())
        };
        let mut text = line(&mut self.head.iter().copied());
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }

    /// A Markdown table.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "| {} |\n|---{}|\n",
            self.head.join(" | "),
            "|--:".repeat(self.head.len().saturating_sub(1))
        );
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            title: String::new(),
            head: vec!["", "ns"],
            rows: vec![vec!["floor".to_owned(), "500 ± 3".to_owned()], vec!["x".to_owned(), NONE.to_owned()]],
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(table().plain(), "              ns\n  floor  500 ± 3\n  x            –\n");
    }

    #[test]
    fn markdown_has_a_rule_under_the_head() {
        assert_eq!(table().markdown(), "|  | ns |\n|---|--:|\n| floor | 500 ± 3 |\n| x | – |\n");
    }
}
