// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour solicitations and advertisements from the guest.

use super::{
    super::{hold, own},
    Places, place_of,
};
use crate::{
    address::V6,
    counters::DropReason,
    maps::Port,
    packet::Packet,
    rule::Rule,
    wire::{
        ipv6::Ipv6,
        nd::{self, SOURCE_LINK_ADDRESS},
    },
};

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy)]
pub(super) struct Message {
    /// A solicitation; else an advertisement.
    pub(super) solicitation: bool,
    /// Its offset.
    pub(super) at: usize,
    /// Offset of its end.
    pub(super) end: usize,
    /// The header that it came with.
    pub(super) ip: Ipv6,
}

/// Judges a message: where it names the guest's MAC, and the link-local address that it is about to claim.
#[inline(always)]
pub(super) fn judge<P: Packet + ?Sized>(
    packet: &P,
    message: Message,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Result<(Places, Option<V6>), DropReason> {
    let options = message.at + nd::NEIGHBOUR;
    let target = nd::target(packet, message.at).ok_or(DropReason::Malformed)?;
    let detection = message.solicitation && message.ip.source.is_unspecified();
    // Detection asks a group (RFC 4861, section 7.1.1), and nobody has a group's address.
    if options > message.end || target.is_multicast() || detection && !message.ip.destination.is_multicast() {
        return Err(DropReason::Malformed);
    }
    let found = nd::link_address(packet, options, message.end).ok_or(DropReason::Malformed)?;
    let mut places = Places::default();
    if !found.is_none() {
        // Detection carries no source address, as there is none yet (RFC 4861, section 4.3).
        let kept = found.ethernet
            && found.mac == port.guest_mac
            && !(detection && found.kind == SOURCE_LINK_ADDRESS);
        hold(port, Rule::NdOption, kept)?;
        places.option = place_of(found.mac, found.at, port);
        places.message = message.at;
    }
    // Whoever has an address may ask for anybody's; the source is judged with the header.
    if message.solicitation && !detection || own::v6(target, port, learned) {
        return Ok((places, None));
    }
    let neighbour = port.ipv6_neighbours.iter().any(|hop| hop.is(target));
    let claim = detection && target.is_link_local() && !neighbour && port.holds_to(Rule::NdTarget);
    hold(port, Rule::NdTarget, claim)?;
    Ok((places, claim.then_some(target)))
}
