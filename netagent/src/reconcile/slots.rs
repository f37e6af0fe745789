// SPDX-License-Identifier: MIT OR Apache-2.0
//! Slots that are spoken for but not written yet, so that two ports do not take the same one.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use netagent_common::maps::{self, MAX_PORTS};

use crate::core::{desired::entry_id, ids::PortId};

/// The slots of this node.
#[derive(Debug, Default)]
pub struct Slots {
    claimed: Mutex<BTreeMap<u32, PortId>>,
}

impl Slots {
    /// The slot that `port` has in the map or has claimed; else the lowest that nobody has.
    pub fn claim(&self, port: &PortId, entries: &[(u32, maps::Port)]) -> Option<u32> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((slot, _)) = claimed.iter().find(|(_, owner)| *owner == port) {
            return Some(*slot);
        }
        let written = entries.iter().find(|(_, entry)| entry_id(entry).as_ref() == Some(port));
        let slot = written.map(|(slot, _)| *slot).or_else(|| {
            (0..MAX_PORTS)
                .find(|slot| !claimed.contains_key(slot) && !entries.iter().any(|(taken, _)| taken == slot))
        })?;
        claimed.insert(slot, port.clone());
        Some(slot)
    }

    /// Lets go of the port's claim.
    pub fn release(&self, port: &PortId) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, owner| owner != port);
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
    fn claims_do_not_collide_and_are_found_again() {
        let slots = Slots::default();
        assert_eq!(slots.claim(&id(1), &[]), Some(0));
        assert_eq!(slots.claim(&id(2), &[]), Some(1));
        assert_eq!(slots.claim(&id(1), &[]), Some(0));
        slots.release(&id(1));
        assert_eq!(slots.claim(&id(3), &[]), Some(0));
    }

    #[test]
    fn what_the_map_says_comes_first() {
        let entry = desired().entry(7, false);
        let slots = Slots::default();
        assert_eq!(slots.claim(&desired().id, &[(5, entry)]), Some(5));
        assert_eq!(slots.claim(&id(9), &[(0, entry), (5, entry)]), Some(1));
    }

    #[test]
    fn a_full_node_has_no_slot() {
        let slots = Slots::default();
        for ino in 0..u64::from(MAX_PORTS) {
            assert!(slots.claim(&id(ino), &[]).is_some());
        }
        assert_eq!(slots.claim(&id(u64::MAX), &[]), None);
    }
}
