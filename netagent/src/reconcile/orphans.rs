// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries and pins that no ask speaks for, as after somebody emptied the state directory.

use std::collections::BTreeSet;

use tracing::warn;

use super::Parts;
use crate::{
    core::{desired::entry_id, ids::PortId, plan::Program},
    datapath::DatapathError,
};

/// Removes what belongs to no port in `known`. A tap in a namespace that nobody names any more cannot be found, and
/// goes with it.
///
/// # Errors
/// When the maps or pins cannot be read or changed.
pub fn sweep(parts: &Parts, known: &BTreeSet<PortId>) -> Result<(), DatapathError> {
    for port in parts.datapath.pins().pinned_ports()? {
        if !known.contains(&port) {
            warn!(%port, "removed pins that nobody asked for");
            for program in Program::ALL {
                parts.datapath.pins().remove_link(&port, program)?;
            }
        }
    }
    for (slot, entry) in parts.datapath.maps().entries()? {
        let known = entry_id(&entry).is_some_and(|id| known.contains(&id));
        if !known {
            warn!(slot, netns_ino = entry.netns_ino, "erased an entry that nobody asked for");
            parts.datapath.maps().erase_entry(slot)?;
        }
    }
    Ok(())
}
