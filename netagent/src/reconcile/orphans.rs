// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries and pins that no ask speaks for, as after somebody emptied the state directory.

use std::{collections::BTreeSet, time::Duration};

use tracing::warn;

use super::{Parts, ports::chain};
use crate::{
    core::{desired::entry_id, ids::PortId, program::Program, tier::Hook},
    datapath::{DatapathError, LinkPin},
};

/// First and longest wait between two looks for programs of another version; it doubles in between.
const RELEASE_LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(60));

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

/// Lets go of what another version left, once the last of its programs has gone: replaced ones go some time after,
/// those of a port that cannot be wired when it can. Ends with the last of it.
pub async fn release_others(parts: Parts) {
    let mut wait = RELEASE_LOOK.0;
    loop {
        match parts.datapath.maps().release_others(parts.datapath.pins()) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => warn!(error = chain(error), "could not let go of what another version left"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RELEASE_LOOK.1);
    }
}
