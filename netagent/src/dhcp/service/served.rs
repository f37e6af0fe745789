// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is served: the ports by slot, and when each is to be spoken to unasked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use super::{dialogue::Talk, exchange::Told, outlet::Tap, voice::Voice};
use crate::core::{
    guest::Guest,
    ids::{NetnsId, PortId},
};

/// One port's hand-off.
#[derive(Clone, Debug)]
pub struct Served {
    /// The port's name.
    pub port: PortId,
    /// Path of its namespace.
    pub netns: PathBuf,
    /// Which namespace that must be.
    pub netns_id: NetnsId,
    /// The tap, in that namespace.
    pub tap_ifindex: u32,
    /// What the guest is told.
    pub guest: Guest,
}

/// A port that is served.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) served: Served,
    pub(super) told: Told,
    pub(super) tap: Arc<Tap>,
    pub(super) voice: Voice,
    pub(super) talk: Talk,
}

/// All that are served.
#[derive(Debug, Default)]
pub(super) struct Ports {
    by_slot: BTreeMap<u32, Entry>,
    /// Every entry with a voice, by when it speaks next.
    agenda: BTreeSet<(Instant, u32)>,
}

impl Ports {
    pub(super) fn slots(&self) -> Vec<u32> {
        self.by_slot.keys().copied().collect()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        self.by_slot.get(&slot)
    }

    /// Works on an entry; what it changes in its voice is on the agenda afterwards.
    pub(super) fn change<T>(&mut self, slot: u32, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.by_slot.get_mut(&slot)?;
        let before = entry.voice.due();
        let done = work(entry);
        let after = entry.voice.due();
        if before != after {
            self.agenda.extend(after.map(|due| (due, slot)));
            if let Some(due) = before {
                self.agenda.remove(&(due, slot));
            }
        }
        Some(done)
    }

    pub(super) fn insert(&mut self, slot: u32, entry: Entry) {
        self.remove(slot);
        self.agenda.extend(entry.voice.due().map(|due| (due, slot)));
        self.by_slot.insert(slot, entry);
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.by_slot.remove(&slot)?;
        if let Some(due) = entry.voice.due() {
            self.agenda.remove(&(due, slot));
        }
        Some(entry)
    }

    /// Who is spoken to next, and when.
    pub(super) fn next_due(&self) -> Option<(Instant, u32)> {
        self.agenda.first().copied()
    }
}
