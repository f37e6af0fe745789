// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was said with one guest, for people: counted, and the little of it that is logged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{debug, error, info};

use super::{announce::Announcements, contain::Defect, exchange::Exchange};
use crate::core::ids::PortId;

/// A guest that found a defect can repeat it.
const DEFECT_EVERY: Duration = Duration::from_secs(60);

/// What was said with one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// The last message that was answered, as in `request -> ack`.
    pub last: String,
    /// Messages by type and outcome. Their names are few, whatever a guest sends.
    pub messages: BTreeMap<String, u64>,
}

/// The exchanges with one guest. They go on when the port is told something else.
#[derive(Debug)]
pub(super) struct Talk {
    dialogue: Dialogue,
    announcements: Announcements,
    defect_told: Option<Instant>,
    /// Counted by those who send.
    lost: Arc<AtomicU64>,
}

/// What is to be logged, when no lock is held any more.
#[derive(Debug)]
#[must_use]
pub(super) struct Mention {
    port: PortId,
    exchange: Exchange,
    /// How many exchanges went unmentioned before this one; `None` when this one is one of them.
    told: Option<u64>,
    defect: Option<Defect>,
}

impl Talk {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dialogue: Dialogue::default(),
            announcements: Announcements::new(now),
            defect_told: None,
            lost: Arc::default(),
        }
    }

    /// All of it until now.
    pub(super) fn dialogue(&self) -> Dialogue {
        let mut dialogue = self.dialogue.clone();
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            dialogue.messages.insert(super::LOST.to_owned(), lost);
        }
        dialogue
    }

    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    pub(super) fn count(&mut self, said: &str) {
        match self.dialogue.messages.get_mut(said) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.dialogue.messages.insert(said.to_owned(), 1);
            }
        }
    }

    /// Notes an exchange.
    pub(super) fn note(&mut self, port: &PortId, exchange: Exchange, now: Instant) -> Mention {
        self.count(&exchange.said);
        if exchange.answered {
            exchange.said.as_ref().clone_into(&mut self.dialogue.last);
        }
        let told = exchange.notable.then(|| self.announcements.tell(&exchange.said, now)).flatten();
        Mention { port: port.clone(), exchange, told, defect: None }
    }

    /// Notes that the agent has a defect which this guest knows to find.
    pub(super) fn note_defect(&mut self, port: &PortId, defect: Defect, now: Instant) -> Mention {
        let silent = self.defect_told.is_some_and(|told| now.saturating_duration_since(told) < DEFECT_EVERY);
        if !silent {
            self.defect_told = Some(now);
        }
        let mention = self.note(port, Exchange::unserved(super::DEFECT), now);
        Mention { defect: (!silent).then_some(defect), ..mention }
    }
}

impl Mention {
    pub(super) fn log(&self) {
        let Self { port, exchange: Exchange { said, address, left_out, .. }, told, defect } = self;
        if let Some(Defect(words)) = defect {
            // Debug: the words may be the guest's.
            error!(%port, defect = ?words, "a frame of this guest met a defect of netagent; it was dropped");
        }
        match told {
            Some(unmentioned) => info!(%port, %said, ?address, ?left_out, unmentioned, "guest spoke"),
            None => debug!(%port, %said, ?address, ?left_out, "guest spoke"),
        }
    }
}
