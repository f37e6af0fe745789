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
}
