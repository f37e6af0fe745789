// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether two sets of values differ by more than chance: a permutation test of their medians.
//!
//! It asks nothing of how values are spread, which a t-test does: figures of a bench have a long tail to one side. If the
//! label of each value did not matter, shuffling the labels would often bring medians as far apart (Good, Permutation,
//! Parametric and Bootstrap Tests of Hypotheses, chapter 3).

use crate::bench::statistics::Spread;

/// So many, that a probability of 1 % is told from one of 2 %.
const SHUFFLES: usize = 2000;

/// How probable medians at least this far apart are when nothing but chance is at work; the same in every run.
pub(super) fn probability(ours: &[f64], theirs: &[f64]) -> f64 {
    let mut all = [ours, theirs].concat();
    let apart = apart(&all, ours.len());
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut hits = 0;
    for _ in 0..SHUFFLES {
        for last in (1..all.len()).rev() {
            all.swap(last, random.below(last + 1));
        }
        hits += usize::from(self::apart(&all, ours.len()) >= apart);
    }
    // The labels as they are, are one of the shuffles.
    (hits + 1) as f64 / (SHUFFLES + 1) as f64
}

fn apart(all: &[f64], first: usize) -> f64 {
    let median = |values: &[f64]| Spread::of(values.iter().copied()).map_or(f64::NAN, |spread| spread.median);
    let (ours, theirs) = all.split_at(first);
    (median(ours) - median(theirs)).abs()
}

/// Marsaglia 2003; any shuffle will do that does not repeat itself.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_overlap_is_no_chance_and_what_is_the_same_is() {
        let values = |from: u32| (0..10).map(|at| f64::from(from + at)).collect::<Vec<_>>();
        assert!(probability(&values(0), &values(100)) < 0.01);
        assert!(probability(&values(0), &values(0)) > 0.9);
        assert!(probability(&values(0), &values(1)) > 0.1);
    }

    #[test]
    fn a_few_values_never_convince() {
        assert!(probability(&[1.0, 2.0, 3.0], &[101.0, 102.0, 103.0]) > 0.05);
    }
}
