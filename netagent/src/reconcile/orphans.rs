// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries and pins that no ask speaks for, as after somebody emptied the state directory.

use std::collections::BTreeSet;

use tracing::warn;

use super::Parts;
use crate::{
    core::{desired::entry_id, ids::PortId, program::Program, tier::Hook},
    datapath::{DatapathError, LinkPin},
};

/// Removes what is left of ports that are not in `known`. A port whose devices live is left as it is, forwarding:
/// without its ask its namespace cannot be found, and taking the programs off a living tap would let the guest send
/// past them. Attaching it again takes it up.
///
/// # Errors
/// When the maps or pins cannot be read or changed.
pub fn sweep(parts: &Parts, known: &BTreeSet<PortId>) -> Result<(), DatapathError> {
    let pins = parts.datapath.pins();
    let mut alive = BTreeSet::new();
    for port in pins.pinned_ports()? {
        for program in Program::ALL {
            match parts.datapath.link_pin(&port, program)? {
                LinkPin::Attached { .. } => _ = alive.insert(port.clone()),
                LinkPin::Severed if !known.contains(&port) => pins.remove_link(&port, program)?,
                LinkPin::Severed | LinkPin::Absent => {}
            }
        }
        if alive.contains(&port) && !known.contains(&port) {
            warn!(%port, "a port forwards that nobody asked for; attach it again to take it up");
        }
    }
    if parts.datapath.features().hook() == Hook::Clsact {
        // Filters leave no pin to tell whether their devices live; what they read stays.
        return Ok(());
    }
    for (slot, entry) in parts.datapath.maps().entries()? {
        let id = entry_id(&entry);
        if !id.as_ref().is_some_and(|id| known.contains(id) || alive.contains(id)) {
            warn!(slot, netns_ino = entry.netns_ino, "erased an entry that nobody asked for");
            parts.datapath.maps().erase_entry(slot)?;
            if let Some(id) = id {
                parts.slots.release(&id);
            }
        }
    }
    Ok(())
}
