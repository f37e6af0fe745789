// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which port has which slot of the maps. Read from the map once; from then on this agent alone gives slots out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use netagent_common::maps::{self, MAX_PORTS};

use crate::core::{desired::entry_id, ids::PortId};

/// The slots of this node.
#[derive(Debug)]
pub struct Slots {
    owners: Mutex<BTreeMap<u32, PortId>>,
}

impl Slots {
    /// The slots as the map's entries have them.
    pub fn from_entries(entries: &[(u32, maps::Port)]) -> Self {
        let owners = entries.iter().filter_map(|(slot, entry)| Some((*slot, entry_id(entry)?))).collect();
        Self { owners: Mutex::new(owners) }
    }

    /// How many there can be.
    pub const LIMIT: u32 = MAX_PORTS;

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.owners().len()
    }

    /// The slot of a port; `None` when it has none.
    pub fn of(&self, port: &PortId) -> Option<u32> {
        self.owners().iter().find(|(_, owner)| *owner == port).map(|(slot, _)| *slot)
    }

    /// The slot that a port without one would get; `None` when all are taken.
    pub fn next(&self) -> Option<u32> {
        let owners = self.owners();
        (0..MAX_PORTS).find(|slot| !owners.contains_key(slot))
    }

    /// The slot of a port, which is given one when it has none; `None` when all are taken.
    pub fn claim(&self, port: &PortId) -> Option<u32> {
        let mut owners = self.owners();
        if let Some((slot, _)) = owners.iter().find(|(_, owner)| *owner == port) {
            return Some(*slot);
        }
        let slot = (0..MAX_PORTS).find(|slot| !owners.contains_key(slot))?;
        owners.insert(slot, port.clone());
        Some(slot)
    }

    /// Lets go of a port's slot.
    pub fn release(&self, port: &PortId) {
        self.owners().retain(|_, owner| owner != port);
    }

    fn owners(&self) -> MutexGuard<'_, BTreeMap<u32, PortId>> {
        // Nothing is left half done while the lock is held.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::desired::tests::desired;

    fn id(ino: u64) -> PortId {
        PortId { netns_ino: ino, pod_link: "eth0".parse().unwrap() }
    }

    #[test]
    fn slots_do_not_collide_and_are_found_again() {
        let slots = Slots::from_entries(&[]);
        assert_eq!((slots.of(&id(1)), slots.next()), (None, Some(0)));
        assert_eq!(slots.claim(&id(1)), Some(0));
        assert_eq!(slots.claim(&id(2)), Some(1));
        assert_eq!((slots.claim(&id(1)), slots.of(&id(1))), (Some(0), Some(0)));
        slots.release(&id(1));
        assert_eq!(slots.claim(&id(3)), Some(0));
    }

    #[test]
    fn what_the_map_holds_keeps_its_slot() {
        let entry = desired().entry(7, false);
        let slots = Slots::from_entries(&[(0, entry)]);
        assert_eq!(slots.claim(&desired().id), Some(0));
        assert_eq!(slots.claim(&id(9)), Some(1));
    }

    #[test]
    fn a_full_node_has_no_slot() {
        let slots = Slots::from_entries(&[]);
        for ino in 0..u64::from(MAX_PORTS) {
            assert!(slots.claim(&id(ino)).is_some());
        }
        assert_eq!((slots.claim(&id(u64::MAX)), slots.next()), (None, None));
        assert_eq!(slots.taken(), Slots::LIMIT as usize);
    }
}
