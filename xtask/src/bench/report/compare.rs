// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two runs side by side: what changed, and what is noise.
//!
//! Machines have moods: a run can be 10 % slower than the one before in everything. So a figure is taken relative to the
//! floor of its own round, if there is one; what moves both cancels. What is left is called a change if a permutation
//! test gives chance less than 1 % of it *and* it is larger than 1 %: two runs of one build differ by that much, because
//! caches and memory lie differently in each. Of a hundred figures one will still be called a change by chance.

use super::{
    Report, permutation,
    table::{NONE, Table, cell},
};
use crate::bench::{
    section::Section,
    series::{Better, Series},
    statistics::Spread,
};

/// Of the variants, those to which others are taken relative: the first of these that the same case has. In `life` it is the
/// agent with one port.
const FLOORS: [&str; 3] = ["floor", "ip-on-tap", "netagent-other"];
/// Less is never called a change.
const SMALLEST: f64 = 0.01;
/// Of chance, below which it is a change.
const CHANCE: f64 = 0.01;
/// With fewer rounds nothing can be told from chance.
const ROUNDS: usize = 5;

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Better,
    Worse,
    Noise,
    /// A floor's own figure is the machine's mood.
    Mood,
    TooFewRounds,
}

/// The comparison for people.
pub(in crate::bench) fn text(a: &Report, b: &Report) -> String {
    let mut text = format!("A: {}\nB: {}\n", a.machine.line(), b.machine.line());
    for (name, report) in [("A", a), ("B", b)] {
        report.doubts().iter().for_each(|doubt| text.push_str(&format!("{name}: {doubt}\n")));
    }
    for difference in a.machine.differences(&b.machine) {
        text.push_str(&format!(
            "{difference} differs: ratios to a floor can be compared, other figures cannot\n"
        ));
    }
    let mut all = Vec::new();
    for section in &a.sections {
        let (table, verdicts) = of_section(section, a, b);
        if !table.is_empty() {
            text.push_str(&format!("\n{}\n{}", table.title, table.plain()));
        }
        all.extend(verdicts);
    }
    let count = |verdict| all.iter().filter(|one| **one == verdict).count();
    text.push_str(&format!(
        "\n{} figures: {} better, {} worse, {} noise, {} floors, {} of fewer than {ROUNDS} rounds. `of floor`: relative to the floor \
         of the same round\n",
        all.len(),
        count(Verdict::Better),
        count(Verdict::Worse),
        count(Verdict::Noise),
        count(Verdict::Mood),
        count(Verdict::TooFewRounds),
    ));
    text
}

fn of_section(section: &Section, a: &Report, b: &Report) -> (Table, Vec<Verdict>) {
    let (mut rows, mut verdicts) = (Vec::new(), Vec::new());
    for series in &section.series {
        let Some(other) = b.series(&section.name, &series.measure, &series.case, &series.variant) else {
            continue;
        };
        let ((ours, floored), (theirs, _)) =
            (values(a, &section.name, series), values(b, &section.name, other));
        let (Some(before), Some(after)) =
            (Spread::of(ours.iter().copied()), Spread::of(theirs.iter().copied()))
        else {
            continue;
        };
        let verdict = match floor_of(a, &section.name, series) {
            Some(floor) if floor.variant == series.variant => Verdict::Mood,
            _ => judge(&ours, &theirs, series.better),
        };
        let ratio = after.median / before.median;
        rows.push(vec![
            format!("{}, {}, {}", series.measure, series.case, series.variant),
            figure(before),
            figure(after),
            if floored { "of floor".to_owned() } else { series.unit.to_string() },
            if ratio.is_finite() { format!("{ratio:.3}") } else { NONE.to_owned() },
            verdict.to_string(),
        ]);
        verdicts.push(verdict);
    }
    (Table::new(section.title.clone(), vec!["", "A", "B", "unit", "B / A", ""], rows), verdicts)
}

/// Of the rounds that have one; and whether they are relative to a floor.
fn values(report: &Report, section: &str, series: &Series) -> (Vec<f64>, bool) {
    match floor_of(report, section, series).filter(|floor| floor.variant != series.variant) {
        None => (series.rounds.iter().flatten().copied().collect(), false),
        Some(floor) => {
            let pairs = series.rounds.iter().zip(&floor.rounds);
            (pairs.filter_map(|(our, floor)| Some((*our)? / (*floor)?)).collect(), true)
        }
    }
}

/// The floor of a case, if it can be divided by.
fn floor_of<'a>(report: &'a Report, section: &str, series: &Series) -> Option<&'a Series> {
    let floor =
        FLOORS.iter().find_map(|variant| report.series(section, &series.measure, &series.case, variant))?;
    floor.rounds.iter().flatten().all(|value| *value > 0.0).then_some(floor)
}

fn judge(a: &[f64], b: &[f64], better: Better) -> Verdict {
    if a.len().min(b.len()) < ROUNDS {
        return Verdict::TooFewRounds;
    }
    let median = |values: &[f64]| Spread::of(values.iter().copied()).map_or(f64::NAN, |spread| spread.median);
    let (before, after) = (median(a), median(b));
    if (after - before).abs() <= before.abs() * SMALLEST || permutation::probability(a, b) >= CHANCE {
        return Verdict::Noise;
    }
    match (better, after < before) {
        (Better::Lower, true) | (Better::Higher, false) => Verdict::Better,
        (Better::Lower, false) | (Better::Higher, true) => Verdict::Worse,
    }
}

fn figure(spread: Spread) -> String {
    let digits = match spread.median.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 3,
    };
    cell(Some(spread), digits)
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Noise => "noise",
            Self::Mood => "floor",
            Self::TooFewRounds => "too few rounds",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{report, series},
        *,
    };

    /// Around `median`, so many per cent to either side, in no order.
    fn around(median: f64, percent: f64) -> Vec<f64> {
        (0..25).map(|at| median * (1.0 + percent / 100.0 * f64::from((at * 7) % 25 - 12) / 6.0)).collect()
    }

    #[test]
    fn three_per_cent_are_found_where_the_spread_is_half_of_one() {
        let (before, slower) = (around(1000.0, 0.5), around(1030.0, 0.5));
        assert_eq!(judge(&before, &slower, Better::Lower), Verdict::Worse);
        assert_eq!(judge(&slower, &before, Better::Lower), Verdict::Better);
        assert_eq!(judge(&before, &slower, Better::Higher), Verdict::Better);
        assert_eq!(judge(&slower, &before, Better::Higher), Verdict::Worse);
    }

    #[test]
    fn they_are_noise_where_the_spread_is_five() {
        assert_eq!(judge(&around(1000.0, 5.0), &around(1030.0, 5.0), Better::Lower), Verdict::Noise);
    }

    #[test]
    fn what_is_the_same_or_hardly_another_is_noise() {
        let before = around(1000.0, 0.5);
        assert_eq!(judge(&before, &before, Better::Lower), Verdict::Noise);
        assert_eq!(judge(&before, &around(1009.0, 0.01), Better::Lower), Verdict::Noise);
        assert_eq!(judge(&[0.0; 25], &[0.0; 25], Better::Lower), Verdict::Noise);
        assert_eq!(judge(&[1.0; 4], &[2.0; 25], Better::Lower), Verdict::TooFewRounds);
    }

    #[test]
    fn a_machine_in_another_mood_changes_nothing_that_has_a_floor() {
        let run = |mood: f64| {
            report(vec![
                series("floor", around(1000.0 * mood, 0.5)),
                series("bridge", around(1000.0 * mood, 0.5).into_iter().map(|floor| floor * 2.0)),
            ])
        };
        let said = text(&run(1.0), &run(1.2));
        assert!(said.contains("0 worse, 1 noise, 1 floors"), "{said}");
        assert!(said.contains("time per packet, VM -> node, 64 B, bridge  2.000 ± 0.000  2.000 ± 0.000  of floor  1.000  noise"), "{said}");
    }

    #[test]
    fn two_machines_are_told() {
        let (a, mut b) = (report(Vec::new()), report(Vec::new()));
        assert!(!text(&a, &b).contains("differs"));
        b.machine.kernel = "5.10".to_owned();
        assert!(text(&a, &b).contains("the kernel differs"));
    }
}
