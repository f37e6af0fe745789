// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stations that a bridge has heard through one of its ports.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
};

use super::{Netlink, NetlinkError};
use crate::core::ids::MacAddr;

impl Netlink {
    /// What the bridge has learned at the port with that index.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn heard_through(&self, port: u32) -> Result<BTreeSet<MacAddr>, NetlinkError> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge).execute();
        let messages: Vec<NeighbourMessage> =
            self.ask("list the stations behind link", &port, request.try_collect()).await?;
        Ok(messages.iter().filter_map(|message| station(message, port)).collect())
    }
}

/// The station of an entry that was learned at the port; the port's own address is permanent.
fn station(message: &NeighbourMessage, port: u32) -> Option<MacAddr> {
    let header = &message.header;
    let own = matches!(header.state, NeighbourState::Permanent | NeighbourState::Noarp);
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    });
    mac.filter(|mac| header.ifindex == port && !own && mac.is_station())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ifindex: u32, state: NeighbourState, mac: &[u8]) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = ifindex;
        message.header.state = state;
        message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.to_vec())];
        message
    }

    #[test]
    fn only_what_was_learned_at_the_port_counts() {
        let mac = [2, 0, 0, 0, 0, 7];
        let learned = |message| station(&message, 4) == Some(MacAddr(mac));
        assert!(learned(entry(4, NeighbourState::Reachable, &mac)));
        assert!(learned(entry(4, NeighbourState::Stale, &mac)));
        assert!(!learned(entry(5, NeighbourState::Reachable, &mac)), "of another port");
        assert!(!learned(entry(4, NeighbourState::Permanent, &mac)), "the port's own");
        assert!(!learned(entry(4, NeighbourState::Noarp, &mac)), "set by hand");
        assert_eq!(station(&entry(4, NeighbourState::Reachable, &mac[..5]), 4), None);
        assert_eq!(station(&NeighbourMessage::default(), 0), None);
    }
}
