// SPDX-License-Identifier: MIT OR Apache-2.0
//! Medians with their spread. Means are not used: one interrupt would move them.

/// A median, and the median distance of the values from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Half of the values lie below.
    pub(super) median: f64,
    /// Median absolute deviation: half of the values lie within this distance.
    pub(super) deviation: f64,
    /// The smallest value.
    pub(super) min: f64,
    /// The largest value.
    pub(super) max: f64,
    /// How many values.
    pub(super) count: usize,
}

impl Spread {
    /// Of `values`, those that are no numbers left out; nothing of none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let median = median(values.clone())?;
        let deviation = self::median(values.iter().map(|value| (value - median).abs()).collect())?;
        let (min, max) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(*value), max.max(*value)));
        Some(Self { median, deviation, min, max, count: values.len() })
    }
}

/// `f` over the values that both rounds have: what drifts in the machine drifts in both and cancels.
pub(super) fn paired(
    ours: &[Option<f64>],
    theirs: &[Option<f64>],
    f: impl Fn(f64, f64) -> f64,
) -> Option<Spread> {
    Spread::of(ours.iter().zip(theirs).filter_map(|(our, their)| Some(f((*our)?, (*their)?))))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_value_moves_neither_median_nor_deviation() {
        let spread = Spread::of([10.0, 11.0, 9.0, 10.0, 5000.0]).unwrap();
        assert_eq!((spread.median, spread.deviation), (10.0, 1.0));
        assert_eq!((spread.min, spread.max, spread.count), (9.0, 5000.0, 5));
    }

    #[test]
    fn an_even_number_of_values_has_its_median_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn pairs_cancel_what_drifts() {
        // The machine gets twice as slow: the ratio does not see it.
        let ours = [Some(20.0), Some(40.0), None];
        let theirs = [Some(10.0), Some(20.0), Some(30.0)];
        let ratio = paired(&ours, &theirs, |our, their| our / their).unwrap();
        assert_eq!((ratio.median, ratio.deviation, ratio.count), (2.0, 0.0, 2));
    }
}
