// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port's routers say unasked: from time to time, and when what they say has changed.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    time::Instant,
};

use crate::dhcp::ra::{self, Advert, Schedule};

/// When the routers of one port speak. Silent while there is nothing to say.
#[derive(Debug, Default)]
pub(super) struct Voice {
    schedule: Option<Schedule>,
}

impl Voice {
    /// When to speak next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.as_ref().map(Schedule::due)
    }

    /// From now on `new` is said in place of `old`. What has to be sent at once.
    ///
    /// What is only not said any more would stay with the guest for as long as a lease, so it is taken back; and as
    /// that may name what another router still says, all speak again behind it, however lately they spoke.
    pub(super) fn change(&mut self, old: &[Advert], new: &[Advert], now: Instant) -> Vec<Advert> {
        if old == new {
            return Vec::new();
        }
        let mut words = ra::retraction(old, new);
        let Some(first) = new.first() else {
            self.schedule = None;
            return words;
        };
        match &mut self.schedule {
            Some(schedule) => schedule.changed(now, first.lifetime, 0),
            none => *none = Some(Schedule::new(now, first.lifetime, random())),
        }
        if !words.is_empty() {
            words.extend_from_slice(new);
            self.spoken(now);
        }
        words
    }

    /// The guest asked: whether it is answered now. Otherwise it is when the routers may speak again.
    pub(super) fn asked(&mut self, now: Instant) -> bool {
        let Some(schedule) = &mut self.schedule else { return false };
        let answered = schedule.solicited(now) <= now;
        if answered {
            self.spoken(now);
        }
        answered
    }

    /// All routers spoke.
    pub(super) fn spoken(&mut self, now: Instant) {
        if let Some(schedule) = &mut self.schedule {
            schedule.sent(now, random());
        }
    }
}

/// The frames of adverts, each with what it left out.
pub(super) fn frames(adverts: &[Advert]) -> Vec<Vec<u8>> {
    adverts.iter().map(|advert| ra::advertise(advert).frame).collect()
}

/// Any number, so that ports do not speak in step. The standard library's maps are seeded by it.
fn random() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}
