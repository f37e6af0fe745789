// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures as tables, for a terminal and for Markdown.

use super::Report;
use crate::bench::{section::Section, statistics::Spread};

/// Rows of cells under a head.
#[derive(Debug)]
pub(in crate::bench) struct Table {
    pub(super) title: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// In a cell that has no figure.
pub(in crate::bench) const NONE: &str = "–";

/// The whole report for a terminal.
pub(in crate::bench) fn text(report: &Report) -> String {
    let mut text = format!(
        "{}\nhook {}, load on CPU {}, the guest's end on CPU {}; median ± median absolute deviation; ratios are taken \
         within a round\n",
        report.machine.line(),
        report.hook,
        report.cpus.load,
        report.cpus.drain,
    );
    for section in &report.sections {
        text.push_str(&format!("\n{}\n", section.title));
        for table in &section.tables {
            text.push_str(&format!("\n{}\n{}", table.title, table.plain()));
        }
        text.push_str(&lines(section.lines()));
    }
    text.push_str(&lines(report.doubts()));
    text
}

fn lines(lines: Vec<String>) -> String {
    let end = if lines.is_empty() { "" } else { "\n" };
    lines.iter().map(|line| format!("\n{line}")).chain([end.to_owned()]).collect()
}

impl Section {
    /// What it says besides its tables.
    pub(super) fn lines(&self) -> Vec<String> {
        let absent = self.absent.iter().map(|reason| format!("Not measured: {reason}."));
        self.remarks.iter().cloned().chain(absent).collect()
    }
}

/// As in `12.3 ± 0.4`, and `12.3` of a single value.
pub(in crate::bench) fn cell(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => NONE.to_owned(),
        Some(Spread { median, count: 1, .. }) => format!("{median:.digits$}"),
        Some(Spread { median, deviation, .. }) => format!("{median:.digits$} ± {deviation:.digits$}"),
    }
}

impl Table {
    /// The first column is of names, the others of figures.
    pub(in crate::bench) fn new(title: String, head: Vec<&'static str>, rows: Vec<Vec<String>>) -> Self {
        Self { title, head, rows }
    }

    /// Whether it has no rows.
    pub(in crate::bench) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Columns of equal width, numbers to the right.
    pub(super) fn plain(&self) -> String {
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
