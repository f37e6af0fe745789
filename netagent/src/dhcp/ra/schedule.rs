// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a port's routers speak (RFC 4861, section 6.2.4 and 6.2.6). It has no clock and no dice: both are given to it.

use std::time::{Duration, Instant};

/// Longest and shortest wait between advertisements that nobody asked for (`MaxRtrAdvInterval` and `MinRtrAdvInterval`,
/// RFC 4861, section 6.2.1).
const MAX_INTERVAL: Duration = Duration::from_secs(600);
/// The least that RFC 4861 allows for `MaxRtrAdvInterval`.
const LEAST_MAX_INTERVAL: Duration = Duration::from_secs(4);
/// `MAX_INITIAL_RTR_ADVERTISEMENTS` and `MAX_INITIAL_RTR_ADVERT_INTERVAL` (RFC 4861, section 10).
const INITIAL: u8 = 3;
const MAX_INITIAL_INTERVAL: Duration = Duration::from_secs(16);
/// `MIN_DELAY_BETWEEN_RAS`: as often as may be spoken to all nodes.
const MIN_DELAY: Duration = Duration::from_secs(3);
/// `MAX_RA_DELAY_TIME`. Ports that begin together, as when the agent starts, must not speak all at once.
const MAX_FIRST_DELAY: Duration = Duration::from_millis(500);

/// When the adverts of one port go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The longest wait between two.
    max: Duration,
    /// How many of the quick ones at the beginning are still to come.
    initial: u8,
    last: Option<Instant>,
    due: Instant,
}

impl Schedule {
    /// Begins to speak: the first time within half a second. `lifetime` is that of what is said, in seconds: it is said
    /// again before a third of it is over. `random` is any number, each equally likely, here and below.
    pub fn new(now: Instant, lifetime: u32, random: u32) -> Self {
        let mut schedule = Self { max: max_interval(lifetime), initial: INITIAL, last: None, due: now };
        schedule.changed(now, lifetime, random);
        schedule
    }

    /// When to speak next.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// What is said has changed: it is said at once, with a new beginning (RFC 4861, section 6.2.4).
    pub fn changed(&mut self, now: Instant, lifetime: u32, random: u32) {
        self.max = max_interval(lifetime);
        self.initial = INITIAL;
        self.due = self.earliest(later(now, scale(Duration::ZERO, MAX_FIRST_DELAY, random)));
    }

    /// A valid solicitation came: when its answer is due, `now` unless the last words were just spoken.
    ///
    /// The random delay of up to half a second (RFC 4861, section 6.2.6) is none here: it keeps routers that share a
    /// link from speaking at once, and this link has one voice.
    pub fn solicited(&mut self, now: Instant) -> Instant {
        self.due = self.due.min(self.earliest(now));
        self.due
    }

    /// All adverts were sent: when the next time is.
    pub fn sent(&mut self, now: Instant, random: u32) -> Instant {
        self.last = Some(now);
        self.initial = self.initial.saturating_sub(1);
        // A third of the longest (RFC 4861, section 6.2.1: the default for `MinRtrAdvInterval`).
        let min = self.max.checked_div(3).unwrap_or_default().max(MIN_DELAY);
        let wait = scale(min, self.max, random);
        self.due = later(now, if self.initial > 0 { wait.min(MAX_INITIAL_INTERVAL) } else { wait });
        self.due
    }

    /// `wanted`, but not too soon after the last time.
    fn earliest(&self, wanted: Instant) -> Instant {
        self.last.map_or(wanted, |last| wanted.max(later(last, MIN_DELAY)))
    }
}

/// Two may be lost before what was said ends.
fn max_interval(lifetime: u32) -> Duration {
    let third = Duration::from_secs(lifetime.checked_div(3).unwrap_or_default().into());
    third.clamp(LEAST_MAX_INTERVAL, MAX_INTERVAL)
}

/// A point between `from` and `to`, by a random number.
fn scale(from: Duration, to: Duration, random: u32) -> Duration {
    let span = to.saturating_sub(from);
    from.saturating_add(span.mul_f64(f64::from(random) / f64::from(u32::MAX)).min(span))
}

fn later(at: Instant, wait: Duration) -> Instant {
    // An `Instant` that cannot be represented is further off than any process lives.
    at.checked_add(wait).unwrap_or(at)
}
