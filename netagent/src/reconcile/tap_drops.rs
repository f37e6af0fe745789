// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the taps dropped: the one loss on the way that no program of ours sees.

use std::collections::BTreeMap;

use super::Ports;
use crate::core::ids::PortId;

impl Ports {
    /// Frames that each tap dropped, asked of the kernel from the agent's own namespace. A port that cannot be asked
    /// about is left out: it has no tap, or changes in its namespace are not heard either.
    pub async fn tap_drops(&self) -> BTreeMap<PortId, u64> {
        let mut drops = BTreeMap::new();
        let Some(numbering) = self.watch.numbering() else { return drops };
        for (id, nsid, tap) in self.taps() {
            // A tap or a namespace that went meanwhile is no news.
            if let Ok(Some(dropped)) = numbering.tx_dropped(nsid, tap).await {
                drops.insert(id, dropped);
            }
        }
        drops
    }
}
