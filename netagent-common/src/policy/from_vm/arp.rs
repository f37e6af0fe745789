// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP from the guest: it speaks of itself, or asks.

use super::{
    super::{hold, own},
    Allowed, Frame, Places, place_of,
};
use crate::{address::V4, counters::DropReason, maps::Port, packet::Packet, rule::Rule, wire::arp};

#[inline(always)]
pub(super) fn judge<P: Packet + ?Sized>(
    packet: &P,
    frame: Frame,
    port: &Port,
) -> Result<Allowed, DropReason> {
    let at = frame.link.at;
    let arp = arp::read(packet, at).ok_or(DropReason::Malformed)?;
    // A probe asks with sender 0.0.0.0 for the address that it is about to claim (RFC 5227, section 2.1.1): asking so
    // for somebody else's makes that one defend it.
    let claimed = if arp.sender == V4::UNSPECIFIED && arp.request { arp.target } else { arp.sender };
    let kept = arp.sender_mac == port.guest_mac && own::v4(claimed, port);
    hold(port, Rule::ArpSender, kept)?;
    let plain = place_of(arp.sender_mac, at + arp::SENDER_MAC, port);
    Ok(Allowed::Forward(Places { plain, ..Places::default() }))
}
