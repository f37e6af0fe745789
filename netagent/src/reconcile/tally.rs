// SPDX-License-Identifier: MIT OR Apache-2.0
//! What passes came to, counted for the node's monitoring.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;

/// In seconds. A pass that changes nothing takes some milliseconds, a first one some ten; more is contention.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Where to look first when passes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureClass {
    /// The pod's namespace cannot be found or entered.
    Netns,
    /// The pod's link, addresses or routes cannot be read.
    Discover,
    /// The pod cannot have such a port.
    Ask,
    /// Something that is not ours is in the way.
    Foreign,
    /// The kernel refuses to tell of links, qdiscs or filters.
    Netlink,
    /// Programs, maps or pins cannot be read.
    Datapath,
    /// The kernel refuses a change.
    Step,
    /// Something else undoes what is done.
    Unsettled,
    /// A defect in netagent.
    Panic,
}

impl FailureClass {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Netns,
        Self::Discover,
        Self::Ask,
        Self::Foreign,
        Self::Netlink,
        Self::Datapath,
        Self::Step,
        Self::Unsettled,
        Self::Panic,
    ];

    /// The stable name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Discover => "discover",
            Self::Ask => "ask",
            Self::Foreign => "foreign",
            Self::Netlink => "netlink",
            Self::Datapath => "datapath",
            Self::Step => "step",
            Self::Unsettled => "unsettled",
            Self::Panic => "panic",
        }
    }
}

/// Counts passes.
#[derive(Debug)]
pub struct Tally {
    durations: Histogram,
    failures: [AtomicU64; FailureClass::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self { durations: Histogram::new(BUCKETS), failures: Default::default() }
    }
}

impl Tally {
    /// A pass ended.
    pub(super) fn ended(&self, took: Duration) {
        self.durations.observe(took.as_secs_f64());
    }

    /// A pass failed.
    pub(super) fn failed(&self, class: FailureClass) {
        if let Some(count) = self.failures.get(class as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long passes took, in seconds.
    pub fn durations(&self) -> Histogram {
        self.durations.clone()
    }

    /// How many failed, of every class.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        let counts = self.failures.iter().map(|count| count.load(Ordering::Relaxed));
        FailureClass::ALL.into_iter().map(FailureClass::as_str).zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_counted_under_its_own_name() {
        let tally = Tally::default();
        for (times, class) in FailureClass::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| tally.failed(class));
        }
        let counts: Vec<_> = tally.failures().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (0..FailureClass::ALL.len() as u64).collect::<Vec<_>>());
        let mut names: Vec<_> = tally.failures().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureClass::ALL.len());
    }
}
