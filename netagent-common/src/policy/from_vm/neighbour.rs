// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour solicitations and advertisements from the guest.

use super::{
    super::{hold, own},
    Allowed, Places,
    icmpv6::Message,
    place_of,
};
use crate::{
    address::V6,
    counters::DropReason,
    maps::Port,
    packet::Packet,
    rule::Rule,
    wire::nd::{self, SOURCE_LINK_ADDRESS},
};

/// Judges a solicitation or else an advertisement: where it names the guest's MAC, and the link-local address that it is
/// about to claim.
#[inline(always)]
pub(super) fn judge<P: Packet + ?Sized>(
    packet: &P,
    message: Message,
    solicitation: bool,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Result<Allowed, DropReason> {
    let at = packet.settle(message.at).ok_or(DropReason::Malformed)?;
    let end = packet.settle(message.end).ok_or(DropReason::Malformed)?;
    let target = nd::target(packet, at).ok_or(DropReason::Malformed)?;
    let detection = solicitation && message.ip.source.is_unspecified();
    // Detection asks a group (RFC 4861, section 7.1.1), and nobody has a group's address.
    let astray = detection && !message.ip.destination.is_multicast();
    if at + nd::NEIGHBOUR > end || target.is_multicast() || astray {
        return Err(DropReason::Malformed);
    }
    // Whoever has an address may ask for anybody's: the source was judged before.
    let own = packet.blur(solicitation && !detection || own::v6(target, port, learned));
    let detection = packet.blur(detection);
    let found = nd::link_address(packet, at + nd::NEIGHBOUR, end).ok_or(DropReason::Malformed)?;
    let mut places = Places::default();
    if !found.is_none() {
        // Detection carries no source address, as there is none yet (RFC 4861, section 4.3).
        let kept = found.is_ethernet()
            && found.mac == port.guest_mac
            && !(detection && found.kind == SOURCE_LINK_ADDRESS);
        hold(port, Rule::NdOption, kept)?;
        places.option = place_of(found.mac, found.at, port);
        places.message = at;
    }
    if own || !port.holds_to(Rule::NdTarget) {
        return Ok(Allowed::Forward(places));
    }
    let neighbour = port.ipv6_neighbours.iter().any(|hop| hop.is(target));
    if detection && target.is_link_local() && !neighbour {
        Ok(Allowed::Claim(target, places))
    } else {
        Err(DropReason::NdTarget)
    }
}
