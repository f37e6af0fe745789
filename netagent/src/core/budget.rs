// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many lines something outside may cause in the log: what it causes beyond that is counted and told with the next.

use std::time::Duration;

/// A burst at once, and one more in each interval.
#[derive(Clone, Debug)]
pub struct Budget {
    burst: u32,
    earn: Duration,
    left: u32,
    /// When the budget was last full, or a line earned.
    earned: Duration,
    untold: u64,
}

impl Budget {
    /// A full budget of `burst` lines; a further one is earned in each `earn`.
    pub const fn new(burst: u32, earn: Duration) -> Self {
        Self { burst, earn, left: burst, earned: Duration::ZERO, untold: 0 }
    }

    /// Whether a line may be written at `now`, counted from any moment that stays the same. Then how many were held back
    /// since the last one.
    pub fn take(&mut self, now: Duration) -> Option<u64> {
        while self.left < self.burst && now.saturating_sub(self.earned) >= self.earn {
            self.earned = self.earned.saturating_add(self.earn);
            self.left = self.left.saturating_add(1);
        }
        if self.left == self.burst {
            self.earned = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.untold))
            }
            None => {
                self.hold_back();
                None
            }
        }
    }

    /// Counts a line that is not worth being written.
    pub fn hold_back(&mut self) {
        self.untold = self.untold.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARN: Duration = Duration::from_secs(60);

    #[test]
    fn a_flood_is_held_to_the_budget_and_counted() {
        let mut budget = Budget::new(4, EARN);
        let mut flood = |now| (0..100).filter_map(|_| budget.take(now)).collect::<Vec<_>>();
        assert_eq!(flood(Duration::ZERO), [0; 4]);
        assert_eq!(flood(EARN - Duration::from_millis(1)), [0; 0]);
        // 96 of the first flood, 100 of the second.
        assert_eq!(flood(EARN), [196]);
        assert_eq!(flood(1000 * EARN), [99, 0, 0, 0]);
    }

    #[test]
    fn what_is_held_back_on_purpose_counts_too() {
        let mut budget = Budget::new(1, EARN);
        budget.hold_back();
        assert_eq!(budget.take(Duration::ZERO), Some(1));
    }
}
