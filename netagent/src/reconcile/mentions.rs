// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which passes over a port the log tells of: whoever may change a pod's links decides how often they come and go, not how
//! much is logged.

use std::time::{Duration, Instant};

use crate::core::budget::Budget;

/// Lines about a port at once: it comes, fails, is repaired, several times over.
const BURST: u32 = 16;
/// A further line is earned in this time.
const EARN: Duration = Duration::from_secs(60);

/// The lines about one port.
#[derive(Debug)]
pub(super) struct Mentions {
    budget: Budget,
    start: Instant,
}

impl Mentions {
    pub(super) fn new(now: Instant) -> Self {
        Self { budget: Budget::new(BURST, EARN), start: now }
    }

    /// Whether a line may be written; then how many were not since the last one.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        self.budget.take(now.saturating_duration_since(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_flaps_for_an_hour_fills_no_log() {
        let start = Instant::now();
        let mut mentions = Mentions::new(start);
        // Four passes a second, each of which repairs something.
        let told: Vec<_> = (0..4 * 3600)
            .filter_map(|pass| mentions.take(start + pass * Duration::from_millis(250)))
            .collect();
        assert_eq!(told.len(), BURST as usize + 59);
        assert_eq!(
            told.iter().sum::<u64>() + told.len() as u64,
            4 * 3600 - 239,
            "all but those since the last line"
        );
        // It was left in peace since.
        assert!(mentions.take(start + 3 * 3600 * Duration::from_secs(1)).is_some());
    }
}
