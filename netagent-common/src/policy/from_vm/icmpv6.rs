// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMPv6 from the guest.

use super::{super::hold, Allowed, Places, ipv6::is_unclaimed, neighbour, tell_too_big};
use crate::{
    address::V6,
    counters::DropReason,
    maps::{Port, PuntKind},
    packet::{Header as _, Packet},
    rule::Rule,
    wire::{eth::Eth, icmpv6, ipv6::Ipv6},
};

/// A message and where it was found.
#[derive(Clone, Copy)]
pub(super) struct Message {
    /// The frame's header.
    pub(super) eth: Eth,
    /// The packet's header.
    pub(super) ip: Ipv6,
    /// The agent answers it, where it asks for a router.
    pub(super) served: bool,
    /// The packet has a fragment header.
    pub(super) fragment: bool,
    /// Offset of the message.
    pub(super) at: usize,
    /// Offset of its end.
    pub(super) end: usize,
    /// Bytes of the frame from the IPv6 header on.
    pub(super) len: usize,
}

/// Judges a message whose source is `known` to be the port's, or not.
#[inline(always)]
pub(super) fn judge<P: Packet + ?Sized>(
    packet: &P,
    message: Message,
    known: bool,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Result<Allowed, DropReason> {
    let icmp = packet.header::<4>(message.at).ok_or(DropReason::Malformed)?;
    let (kind, code) = (icmp.u8::<0>(), icmp.u8::<1>());
    let ip = message.ip;
    match kind {
        icmpv6::ROUTER_ADVERTISEMENT => hold(port, Rule::RouterAdvertisement, false)?,
        icmpv6::REDIRECT => hold(port, Rule::Redirect, false)?,
        icmpv6::ROUTER_SOLICITATION
        | icmpv6::NEIGHBOUR_SOLICITATION
        | icmpv6::NEIGHBOUR_ADVERTISEMENT
            // A message that came from a router, is of another code or was cut into fragments is none of neighbour
            // discovery (RFC 4861, section 7.1; RFC 6980, section 5).
            if ip.hop_limit != 255 || code != 0 || message.fragment =>
        {
            return Err(DropReason::Malformed);
        }
        icmpv6::ROUTER_SOLICITATION if message.served => {
            return Ok(Allowed::Punt(PuntKind::RouterSolicitation));
        }
        _ => {}
    }
    let nameless = ip.source.is_unspecified() && may_be_nameless(kind);
    hold(port, Rule::SourceIpv6, known || nameless || is_unclaimed(ip.source, port))?;
    if message.len > port.mtu as usize && port.holds_to(Rule::Oversized) {
        let answerable = kind >= icmpv6::FIRST_INFORMATIONAL && !ip.destination.is_multicast();
        return tell_too_big(message.eth, answerable);
    }
    match kind {
        icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT => {
            let solicitation = kind == icmpv6::NEIGHBOUR_SOLICITATION;
            neighbour::judge(packet, message, solicitation, port, learned)
        }
        _ => Ok(Allowed::Forward(Places::default())),
    }
}

/// Whether a message may come from `::`: duplicate address detection (RFC 4862, section 5.4.2), the search for a router
/// before there is an address, and reports for the group of an address that is still tentative (RFC 3590).
#[inline(always)]
const fn may_be_nameless(kind: u8) -> bool {
    matches!(
        kind,
        icmpv6::NEIGHBOUR_SOLICITATION
            | icmpv6::ROUTER_SOLICITATION
            | icmpv6::MLD_REPORT
            | icmpv6::MLDV2_REPORT
    )
}
