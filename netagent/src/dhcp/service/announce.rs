// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which exchanges with a guest the log tells of: a guest decides how often it speaks, not how much is logged.

use std::time::{Duration, Instant};

use crate::core::budget::Budget;

/// Lines that a guest can cause at once: several boots with all that a client says.
const BURST: u32 = 16;
/// A further line is earned in this time.
const EARN: Duration = Duration::from_secs(60);

/// What was told of one guest.
#[derive(Debug)]
pub(super) struct Announcements {
    last: String,
    budget: Budget,
    start: Instant,
}

impl Announcements {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: String::new(), budget: Budget::new(BURST, EARN), start: now }
    }

    /// Whether to tell that `said` was said: when it is not what was told last, and the budget allows it. Then how many
    /// exchanges were not told of since.
    pub(super) fn tell(&mut self, said: &str, now: Instant) -> Option<u64> {
        if said == self.last {
            self.budget.hold_back();
            return None;
        }
        let untold = self.budget.take(now.saturating_duration_since(self.start))?;
        said.clone_into(&mut self.last);
        Some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_and_what_is_repeated_is_counted() {
        let now = Instant::now();
        let mut told = Announcements::new(now);
        assert_eq!(told.tell("discover -> offer", now), Some(0));
        assert_eq!(told.tell("discover -> offer", now), None);
        assert_eq!(told.tell("discover -> offer", now), None);
        assert_eq!(told.tell("request -> ack", now), Some(2));
        // A renewal, hours later.
        assert_eq!(told.tell("request -> ack", now + 600 * EARN), None);
    }

    #[test]
    fn a_guest_that_never_says_the_same_twice_is_held_to_the_budget() {
        let start = Instant::now();
        let mut told = Announcements::new(start);
        let mut flood = |now| (0..1000).filter(|i| told.tell(["a", "b"][i % 2], now).is_some()).count();
        assert_eq!(flood(start), BURST as usize);
        assert_eq!(flood(start + EARN - Duration::from_millis(1)), 0);
        assert_eq!(flood(start + 3 * EARN), 3);
        assert_eq!(flood(start + 1000 * EARN), BURST as usize);
    }
}
