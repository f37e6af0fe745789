// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the taps dropped: the one loss on the way that no program of ours sees.

use std::{collections::BTreeMap, sync::Arc};

use super::{Ports, port::Port};
use crate::{core::ids::PortId, netlink::NsId};

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

    /// The taps of ports that were ready, by the number of their namespaces.
    fn taps(&self) -> Vec<(PortId, NsId, u32)> {
        let tap = |(id, port): (&PortId, &Arc<Port>)| {
            Some((id.clone(), port.nsid()?, port.status().wired?.tap_ifindex))
        };
        self.ports().iter().filter_map(tap).collect()
    }
}
