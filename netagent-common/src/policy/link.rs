// SPDX-License-Identifier: MIT OR Apache-2.0
//! Below the network layer: where it starts, which one it is, and whether the frame's tag is allowed.

use super::{Meta, hold};
use crate::{
    counters::DropReason,
    maps::{ETHERTYPES, Port, VLANS},
    packet::{Header as _, Packet},
    rule::Rule,
    wire::eth::{self, Tag},
};

/// What the network layer needs to know of the frame around it.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// Offset of the network header.
    pub(super) at: usize,
    /// EtherType of what is there.
    pub(super) ethertype: u16,
    /// The frame has a VLAN tag, in it or beside it.
    pub(super) tagged: bool,
}

/// Looks behind a tag, if the frame has one that is allowed. The kernel keeps the outer tag beside the frame in tc
/// programs and leaves it in the frame in XDP programs.
#[inline(always)]
pub(super) fn read<P: Packet + ?Sized>(
    packet: &P,
    ethertype: u16,
    meta: Meta,
    port: &Port,
) -> Result<Link, DropReason> {
    if meta.tag.is_none() && !eth::is_tag(ethertype) {
        return Ok(Link { at: eth::HEADER, ethertype, tagged: false });
    }
    let (tag, link) = if meta.tag.is_none() {
        let inner = packet.header::<4>(eth::HEADER).ok_or(DropReason::Malformed)?;
        let tag = Tag { protocol: ethertype, tci: inner.be16::<0>() };
        (tag, Link { at: eth::HEADER + eth::TAG, ethertype: inner.be16::<2>(), tagged: true })
    } else {
        (meta.tag, Link { at: eth::HEADER, ethertype, tagged: true })
    };
    // A second tag would hide a VLAN behind one that is allowed.
    let single = tag.protocol == eth::VLAN && !eth::is_tag(link.ethertype);
    hold(port, Rule::Vlan, single && allows_vlan(port, tag.id()))?;
    Ok(link)
}

#[inline(always)]
fn allows_vlan(port: &Port, id: u16) -> bool {
    port.flags & VLANS != 0 && id != 0 && port.vlans.contains(&id)
}

/// Holds a frame of another protocol than IPv4, ARP and IPv6 to the list. 802.3 frames have a length in place of the
/// EtherType.
#[inline(always)]
pub(super) fn other(link: Link, port: &Port) -> Result<(), DropReason> {
    let allowed = port.flags & ETHERTYPES != 0 && port.ethertypes.contains(&link.ethertype);
    hold(port, Rule::Ethertype, allowed && link.ethertype != 0)
}
