// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often everything is looked at that nothing calls for: the more there is, the more rarely, so that an agent with a
//! thousand ports is as idle as one with ten.

use std::time::Duration;

/// The wait between two looks at each of `things`: `shortest`, and longer when there are so many that it would come to
/// more than `most` looks a second.
pub(super) fn pace(shortest: Duration, things: usize, most: u32) -> Duration {
    let things = u32::try_from(things).unwrap_or(u32::MAX);
    let whole_round = Duration::from_secs(things.into()).checked_div(most).unwrap_or(shortest);
    shortest.max(whole_round)
}

/// The wait for one of many things whose turns are `paced`: any from `shortest` on, and `paced` on the average, so that
/// those which began together do not come back together. `dice`: from 0 to 1.
pub(super) fn spread(shortest: Duration, paced: Duration, dice: f64) -> Duration {
    shortest + paced.saturating_sub(shortest).mul_f64(2.0 * dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_looked_at_as_often_in_all_as_a_few() {
        let second = Duration::from_secs(1);
        assert_eq!(pace(second, 0, 100), second);
        assert_eq!(pace(second, 100, 100), second);
        assert_eq!(pace(second, 1000, 100), 10 * second);
        assert_eq!(pace(30 * second, 60, 2), 30 * second);
        assert_eq!(pace(30 * second, 1000, 2), 500 * second);
    }

    #[test]
    fn those_that_began_together_do_not_come_back_together() {
        let second = Duration::from_secs(1);
        let turn = |dice| spread(30 * second, 500 * second, dice);
        assert_eq!([turn(0.0), turn(0.5), turn(1.0)], [30 * second, 500 * second, 970 * second]);
        assert_eq!(spread(30 * second, 30 * second, 1.0), 30 * second);
    }
}
