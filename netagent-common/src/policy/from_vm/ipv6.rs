// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 from the guest.

use super::{
    super::{hold, own},
    Allowed, Frame, Places, TCP_HEADER,
    icmpv6::{self, Message},
};
use crate::{
    address::V6,
    counters::DropReason,
    maps::{Port, PuntKind},
    packet::{FAR, Header as _, Packet, PacketMut},
    rule::Rule,
    wire::{
        icmpv6::CHECKSUM,
        ipv6::{self, Upper},
        udp,
    },
};

#[inline(always)]
pub(super) fn judge<P: PacketMut + ?Sized>(
    packet: &mut P,
    frame: Frame,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Result<Allowed, DropReason> {
    let at = frame.link.at;
    let ip = ipv6::read(packet, at).ok_or(DropReason::Malformed)?;
    if !frame.is_segmented() && ip.payload + ipv6::HEADER > frame.network_len() {
        return Err(DropReason::Malformed);
    }
    let known = own::v6(ip.source, port, learned);
    let end = at + ipv6::HEADER + ip.payload;
    match ip.next {
        ipv6::TCP if !frame.is_segmented() => {}
        ipv6::TCP | ipv6::UDP => packet.reach(at + ipv6::HEADER + least(ip.next)),
        _ => packet.reach(FAR),
    }
    let upper = ipv6::upper(packet, ip.next, at + ipv6::HEADER, end).ok_or(DropReason::Malformed)?;
    // The first fragment holds the whole chain of headers, the transport's included (RFC 7112).
    if upper.present && upper.at + least(upper.protocol) > end {
        return Err(DropReason::Malformed);
    }
    if upper.present && upper.protocol == ipv6::ICMPV6 {
        let len = frame.network_len();
        let served = frame.is_for_agent(port);
        let message =
            Message { eth: frame.eth, ip, served, fragment: upper.fragment, at: upper.at, end, len };
        return icmpv6::judge(packet, message, packet.blur(known), port, learned);
    }
    if upper.present && upper.protocol == ipv6::UDP {
        let to = udp::destination_port(packet, upper.at).ok_or(DropReason::Malformed)?;
        if to == udp::DHCPV6_SERVER && frame.is_for_agent(port) {
            return Ok(Allowed::Punt(PuntKind::Dhcpv6));
        }
        hold(port, Rule::DhcpServer, to != udp::DHCPV6_CLIENT)?;
    }
    hold(port, Rule::SourceIpv6, known || is_unclaimed(ip.source, port))?;
    if frame.is_segmented() || !frame.fits(port) {
        let headers = upper.at - at;
        let fits = frame.is_segmented() && frame.segments_fit(headers + transport_len(packet, upper)?, port);
        if !fits {
            return frame.too_big(port, !ip.destination.is_multicast());
        }
    }
    Ok(Allowed::Forward(Places::default()))
}

/// Whether the address is link-local where claims are not checked: then it may be anybody's.
#[inline(always)]
pub(super) fn is_unclaimed(source: V6, port: &Port) -> bool {
    source.is_link_local() && !port.holds_to(Rule::NdTarget)
}

/// Bytes that a transport header has at least; 0 for protocols that no rule looks into.
#[inline(always)]
const fn least(protocol: u8) -> usize {
    match protocol {
        ipv6::TCP => TCP_HEADER,
        ipv6::UDP => udp::HEADER,
        ipv6::ICMPV6 => CHECKSUM + 2,
        _ => 0,
    }
}

/// Length of the transport header that every segment gets a copy of.
#[inline(always)]
fn transport_len<P: Packet + ?Sized>(packet: &P, upper: Upper) -> Result<usize, DropReason> {
    match upper.protocol {
        ipv6::TCP => {
            let tcp = packet.header::<TCP_HEADER>(upper.at).ok_or(DropReason::Malformed)?;
            Ok((tcp.u8::<12>() >> 4) as usize * 4)
        }
        _ => Ok(udp::HEADER),
    }
}
