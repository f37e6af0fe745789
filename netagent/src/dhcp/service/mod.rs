// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-off to the guests of all ports: their frames in, answers and advertisements out.
//!
//! No guest makes another one wait. What is decided is decided under one lock and without an effect; who sends does
//! not wait for anything ([`mod@line`]), and nothing is logged before it was sent.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "moments and counts of the agent's own, no number of a guest's"
)]

mod announce;
mod contain;
mod crew;
mod dialogue;
mod exchange;
mod inbox;
mod label;
mod line;
mod outlet;
mod served;
mod voice;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use dialogue::Dialogue;
pub use inbox::{Inbox, Punt};
pub use label::message_and_outcome;
pub use outlet::{Outlet, Tap};
pub use served::Served;
use tokio::sync::Notify;
use tracing::warn;

use self::{
    contain::contain,
    dialogue::{Mention, Talk},
    exchange::{Exchange, Told},
    line::Lines,
    served::{Entry, Ports},
    voice::Voice,
};
use super::v4;
use crate::core::ids::PortId;
use netagent_common::maps::PuntKind;

/// A frame for which its port had no room.
const BUSY: &str = "dropped busy";
/// Answers that could not be sent.
const LOST: &str = "answer lost";
/// A frame that met a defect of netagent.
const DEFECT: &str = "defect";

/// Serves the guests of all ports.
#[derive(Debug)]
pub struct Service {
    lease_time: Mutex<Duration>,
    ports: Mutex<Ports>,
    outlet: Box<dyn Outlet>,
    /// Told when [`tend`](Self::tend) may have to do something sooner than it thought.
    wake: Arc<Notify>,
}

impl Service {
    /// Serves nobody yet. Leases last for `lease_time`.
    pub fn new(lease_time: Duration) -> Self {
        let wake = Arc::new(Notify::new());
        let outlet = Box::new(Lines::new(Arc::clone(&wake)));
        Self { wake, ..Self::with_outlet(lease_time, outlet) }
    }

    /// As [`new`](Self::new), with another way to the taps.
    pub fn with_outlet(lease_time: Duration, outlet: Box<dyn Outlet>) -> Self {
        Self { lease_time: Mutex::new(lease_time), ports: Mutex::default(), outlet, wake: Arc::default() }
    }

    /// Serves the port in `slot` from now on, or tells it something else from now on.
    pub fn serve(&self, slot: u32, served: Served) {
        let now = Instant::now();
        let told = Told::new(&served.guest, self.lease_time());
        let unusable = told.unusable_names();
        if let Some(first) = unusable.first() {
            warn!(port = %served.port, names = unusable.len(), %first, "left names out of the lease");
        }
        let mut ports = self.ports();
        let before = ports.remove(slot);
        let (old, mut voice, mut talk, tap) = match before {
            Some(Entry { served: old, told, voice, talk, tap }) if old.port == served.port => {
                let same = tap.is_of(&served);
                if !same {
                    self.outlet.leave(&tap);
                }
                (told.adverts, voice, talk, same.then_some(tap))
            }
            other => {
                if let Some(other) = other {
                    self.outlet.leave(&other.tap);
                }
                (Vec::new(), Voice::default(), Talk::new(now), None)
            }
        };
        let tap = tap.unwrap_or_else(|| Arc::new(Tap::new(&served, talk.lost())));
        let words = voice.change(&old, &told.adverts, now);
        let mention = (!words.is_empty()).then(|| self.speak_to(&tap, &mut talk, &words, now)).flatten();
        ports.insert(slot, Entry { served, told, tap, voice, talk });
        drop(ports);
        self.wake.notify_one();
        if let Some(mention) = mention {
            mention.log();
        }
    }

    /// Leases last for `lease_time` from now on, where a port does not say otherwise. A guest hears of it when it asks
    /// again; what its routers say changes at once.
    pub fn set_lease_time(&self, lease_time: Duration) {
        let before = {
            let mut current = self.lease_time.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, lease_time)
        };
        if before == lease_time {
            return;
        }
        let now = Instant::now();
        let slots = self.ports().slots();
        for slot in slots {
            let mention = self.ports().change(slot, |Entry { served, told, tap, voice, talk }| {
                let new = Told::new(&served.guest, lease_time);
                let words = voice.change(&told.adverts, &new.adverts, now);
                *told = new;
                (!words.is_empty()).then(|| self.speak_to(tap, talk, &words, now)).flatten()
            });
            if let Some(mention) = mention.flatten() {
                mention.log();
            }
        }
        self.wake.notify_one();
    }

    fn lease_time(&self) -> Duration {
        *self.lease_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops serving a slot.
    pub fn stop(&self, slot: u32) {
        let entry = self.ports().remove(slot);
        if let Some(entry) = entry {
            self.outlet.leave(&entry.tap);
            self.wake.notify_one();
        }
    }

    /// What the port in `slot` is told, `None` when it is not this port that is served there.
    pub fn serving(&self, slot: u32, port: &PortId) -> Option<Served> {
        let ports = self.ports();
        ports.get(slot).filter(|entry| entry.served.port == *port).map(|entry| entry.served.clone())
    }

    /// What was said with the guest in `slot`.
    pub fn dialogue(&self, slot: u32) -> Dialogue {
        self.ports().get(slot).map(|entry| entry.talk.dialogue()).unwrap_or_default()
    }

    /// The lease that the guest in `slot` gets.
    pub fn lease(&self, slot: u32) -> Option<v4::Lease> {
        self.ports().get(slot).and_then(|entry| entry.told.v4.clone())
    }

    /// Takes one frame of a guest; the answer goes out by itself.
    pub fn take(&self, punt: &Punt) {
        let now = Instant::now();
        let mention = self.ports().change(punt.slot, |entry| self.exchange(entry, punt, now));
        if let Some(mention) = mention {
            mention.log();
        }
    }

    /// Counts a frame of the guest in `slot` that nobody has the time to look at.
    pub fn refuse(&self, slot: u32) {
        self.ports().change(slot, |entry| entry.talk.count(BUSY));
    }

    fn exchange(&self, entry: &mut Entry, punt: &Punt, now: Instant) -> Mention {
        let Entry { served, told, tap, voice, talk } = entry;
        let mut exchange = match contain(|| told.answer(&served.guest, punt)) {
            Ok(exchange) => exchange,
            Err(defect) => return talk.note_defect(&served.port, defect, now),
        };
        if exchange.frames.is_empty() {
            return talk.note(&served.port, exchange, now);
        }
        if punt.kind == PuntKind::RouterSolicitation && !voice.asked(now) {
            // Sooner, as a rule, than it would have been.
            self.wake.notify_one();
            exchange = Exchange::unserved("router_solicitation put off");
        } else if !self.outlet.send(tap, std::mem::take(&mut exchange.frames)) {
            exchange = Exchange::unserved(BUSY);
        }
        talk.note(&served.port, exchange, now)
    }

    /// Does what is due by time, for all ports: advertisements, and what the outlet wants to give up. Ends never.
    pub async fn tend(&self) {
        loop {
            let now = Instant::now();
            let next = [self.advertise(now), self.outlet.rest(now)].into_iter().flatten().min();
            match next {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at.into(), self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Sends the advertisements that are due by `now`. When the next one is.
    pub fn advertise(&self, now: Instant) -> Option<Instant> {
        loop {
            let mut ports = self.ports();
            let (due, slot) = ports.next_due()?;
            if due > now {
                return Some(due);
            }
            let mention = ports.change(slot, |Entry { told, tap, voice, talk, .. }| {
                voice.spoken(now);
                self.speak_to(tap, talk, &told.adverts, now)
            });
            drop(ports);
            if let Some(mention) = mention.flatten() {
                mention.log();
            }
        }
    }

    /// Sends what a guest did not ask for.
    fn speak_to(
        &self,
        tap: &Arc<Tap>,
        talk: &mut Talk,
        words: &[super::ra::Advert],
        now: Instant,
    ) -> Option<Mention> {
        match contain(|| voice::frames(words)) {
            Ok(frames) => {
                talk.count(if self.outlet.send(tap, frames) { "advertisement" } else { BUSY });
                None
            }
            Err(defect) => Some(talk.note_defect(&tap.port, defect, now)),
        }
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        // Nothing is left half done while the lock is held.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
