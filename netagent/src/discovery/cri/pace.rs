// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often the list is read: often, until the runtime's events have shown that they can be relied on.
//!
//! containerd 1.6 has no events. CRI-O serves the call and says nothing unless it is told to. containerd 1.7 hands
//! each event to one of its listeners, and another one may be there. So what counts is whether changes were announced.

use std::time::Duration;

/// Between two looks when nobody announces changes.
const POLL: Duration = Duration::from_secs(5);
/// Between two looks when changes are announced: for what an event may have got lost of.
const RESYNC: Duration = Duration::from_secs(60);

/// How far events are relied on, on one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    relied_on: bool,
    heard: bool,
}

impl Pace {
    /// An event came.
    pub(super) fn event(&mut self) {
        self.heard = true;
    }

    /// The events ended.
    pub(super) fn no_events(&mut self) {
        *self = Self::default();
    }

    /// The list was read; `changed`: not the same as the last time.
    pub(super) fn listed(&mut self, changed: bool) {
        // What changed nothing was heard of containers, which the list does not show.
        if changed {
            self.relied_on = self.heard;
        }
        self.heard = false;
    }

    /// How long until the next look, if no event comes.
    pub(super) fn wait(&self) -> Duration {
        if self.relied_on { RESYNC } else { POLL }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_relied_on_as_long_as_they_announce_changes() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(), POLL);
        // The first list is a change, and nothing announced it.
        pace.listed(true);
        assert_eq!(pace.wait(), POLL);
        // An event without a change proves nothing.
        pace.event();
        pace.listed(false);
        assert_eq!(pace.wait(), POLL);
        pace.event();
        pace.listed(true);
        assert_eq!(pace.wait(), RESYNC);
        pace.listed(false);
        assert_eq!(pace.wait(), RESYNC);
        // A change that nobody announced.
        pace.listed(true);
        assert_eq!(pace.wait(), POLL);
        pace.event();
        pace.listed(true);
        pace.no_events();
        assert_eq!(pace.wait(), POLL);
    }
}
