// SPDX-License-Identifier: MIT OR Apache-2.0
//! A table of one case: a row for each variant, figures and their ratios to another variant's of the same round.

use super::{
    report::table::{Table, cell},
    series::Series,
    statistics::{Spread, paired},
};

/// A column of figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its head.
    pub(super) head: &'static str,
    /// Of which measure.
    pub(super) measure: &'static str,
    /// Divided by what this variant has.
    pub(super) over: Option<&'static str>,
    /// Behind the point.
    pub(super) digits: usize,
}

impl Column {
    /// The figure itself.
    pub(super) const fn of(head: &'static str, measure: &'static str, digits: usize) -> Self {
        Self { head, measure, over: None, digits }
    }

    /// How many times another variant's figure.
    pub(super) const fn over(head: &'static str, measure: &'static str, variant: &'static str) -> Self {
        Self { head, measure, over: Some(variant), digits: 3 }
    }

    fn cell(&self, series: &[Series], case: &str, variant: &str) -> String {
        let rounds = |variant: &str| {
            let found = series
                .iter()
                .find(|one| one.measure == self.measure && one.case == case && one.variant == variant);
            found.map(|one| one.rounds.as_slice()).unwrap_or_default()
        };
        let ours = rounds(variant);
        let spread = match self.over {
            None => Spread::of(ours.iter().flatten().copied()),
            Some(other) => paired(ours, rounds(other), |our, their| our / their),
        };
        cell(spread, self.digits)
    }
}

/// The rows are `variants`: name and title of each.
pub(super) fn table(
    title: String,
    series: &[Series],
    case: &str,
    variants: &[(String, &'static str)],
    columns: &[Column],
) -> Table {
    let head = std::iter::once("").chain(columns.iter().map(|column| column.head)).collect();
    let rows = variants
        .iter()
        .map(|(name, title)| {
            let cells = columns.iter().map(|column| column.cell(series, case, name));
            std::iter::once((*title).to_owned()).chain(cells).collect()
        })
        .collect();
    Table::new(title, head, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::series::{Better, Unit};

    #[test]
    fn ratios_are_of_the_same_case_and_round() {
        let series = |case: &str, variant: &str, rounds: [f64; 2]| Series {
            measure: "throughput".to_owned(),
            case: case.to_owned(),
            variant: variant.to_owned(),
            unit: Unit::GigabitsPerSecond,
            better: Better::Higher,
            rounds: rounds.map(Some).to_vec(),
        };
        let all = [
            series("a", "bridge", [10.0, 20.0]),
            series("b", "bridge", [1.0, 1.0]),
            series("a", "mirred", [11.0, 22.0]),
        ];
        let columns =
            [Column::of("Gbit/s", "throughput", 1), Column::over("x bridge", "throughput", "bridge")];
        let cells = columns.map(|column| column.cell(&all, "a", "mirred"));
        assert_eq!(cells, ["16.5 ± 5.5", "1.100 ± 0.000"]);
    }
}
