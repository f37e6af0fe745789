// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 from the guest.

use super::{
    super::{hold, own},
    Allowed, Frame, Places,
    neighbour::{self, Message},
};
use crate::{
    address::V6,
    counters::DropReason,
    maps::{Port, PuntKind},
    packet::{FAR, Header as _, Packet, PacketMut},
    rule::Rule,
    wire::{
        icmpv6,
        ipv6::{self, Ipv6, Upper},
        udp,
    },
};

/// What the transport layer adds to the judgement.
struct Spoken {
    /// `::` is a source that the message may have.
    nameless: bool,
    /// Where the message names a MAC.
    places: Places,
    /// A link-local address that the message is about to claim.
    claim: Option<V6>,
    /// The message reports an error, so that none may answer it.
    error: bool,
}

const SILENT: Spoken =
    Spoken { nameless: false, places: Places { plain: 0, option: 0, message: 0 }, claim: None, error: false };

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
    let end = at + ipv6::HEADER + ip.payload;
    match ip.next {
        ipv6::TCP if !frame.is_segmented() => {}
        ipv6::TCP | ipv6::UDP => packet.reach(at + ipv6::HEADER + least(ip.next)),
        _ => packet.reach(FAR),
    }
    let upper = ipv6::upper(packet, ip.next, at + ipv6::HEADER, end).ok_or(DropReason::Malformed)?;
    let mut spoken = SILENT;
    if upper.present {
        // The first fragment holds the whole chain of headers, the transport's included (RFC 7112).
        if upper.at + least(upper.protocol) > end {
            return Err(DropReason::Malformed);
        }
        if upper.protocol == ipv6::UDP {
            let to = udp::destination_port(packet, upper.at).ok_or(DropReason::Malformed)?;
            if to == udp::DHCPV6_SERVER && !frame.link.tagged {
                return Ok(Allowed::Punt(PuntKind::Dhcpv6));
            }
            hold(port, Rule::DhcpServer, to != udp::DHCPV6_CLIENT)?;
        } else if upper.protocol == ipv6::ICMPV6 {
            let heard = Heard { ip, upper, end, tagged: frame.link.tagged };
            match listen(packet, heard, port, learned)? {
                Ok(said) => spoken = said,
                Err(kind) => return Ok(Allowed::Punt(kind)),
            }
        }
    }
    let unspecified = spoken.nameless && ip.source.is_unspecified();
    // Where claims are not checked, no link-local address is anybody's.
    let unclaimed = || ip.source.is_link_local() && !port.holds_to(Rule::NdTarget);
    hold(port, Rule::SourceIpv6, own::v6(ip.source, port, learned) || unspecified || unclaimed())?;
    if frame.is_segmented() || !frame.fits(port) {
        let transport = if frame.is_segmented() { transport_len(packet, upper)? } else { 0 };
        let fits = frame.is_segmented() && frame.segments_fit(upper.at - at + transport, port);
        let answerable = !spoken.error && !ip.destination.is_multicast();
        if !fits && let Err(verdict) = frame.too_big(port, answerable) {
            return verdict;
        }
    }
    Ok(match spoken.claim {
        Some(target) => Allowed::Claim(target, spoken.places),
        None => Allowed::Forward(spoken.places),
    })
}

/// Bytes that a transport header has at least; 0 for protocols that no rule looks into.
#[inline(always)]
const fn least(protocol: u8) -> usize {
    match protocol {
        ipv6::TCP => 20,
        ipv6::UDP => udp::HEADER,
        ipv6::ICMPV6 => 4,
        _ => 0,
    }
}

/// Length of the transport header that every segment gets a copy of.
#[inline(always)]
fn transport_len<P: Packet + ?Sized>(packet: &P, upper: Upper) -> Result<usize, DropReason> {
    match upper.protocol {
        ipv6::TCP => {
            let tcp = packet.header::<20>(upper.at).ok_or(DropReason::Malformed)?;
            Ok((tcp.u8::<12>() >> 4) as usize * 4)
        }
        _ => Ok(udp::HEADER),
    }
}

/// An ICMPv6 message and where it was found.
#[derive(Clone, Copy)]
struct Heard {
    ip: Ipv6,
    upper: Upper,
    end: usize,
    tagged: bool,
}

/// Judges an ICMPv6 message; the inner error is one that goes to the agent.
#[inline(always)]
fn listen<P: Packet + ?Sized>(
    packet: &P,
    heard: Heard,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Result<Result<Spoken, PuntKind>, DropReason> {
    let icmp = packet.header::<4>(heard.upper.at).ok_or(DropReason::Malformed)?;
    let kind = icmp.u8::<0>();
    let ip = heard.ip;
    match kind {
        icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT | icmpv6::ROUTER_SOLICITATION => {
            // A message that came from a router, is of another code or was cut into fragments is none of neighbour
            // discovery (RFC 4861, section 7.1; RFC 6980, section 5).
            if ip.hop_limit != 255 || icmp.u8::<1>() != 0 || heard.upper.fragment {
                return Err(DropReason::Malformed);
            }
            if kind == icmpv6::ROUTER_SOLICITATION {
                let nameless = Spoken { nameless: true, ..SILENT };
                return Ok(if heard.tagged { Ok(nameless) } else { Err(PuntKind::RouterSolicitation) });
            }
            let message = Message {
                solicitation: kind == icmpv6::NEIGHBOUR_SOLICITATION,
                at: heard.upper.at,
                end: heard.end,
                ip,
            };
            let (places, claim) = neighbour::judge(packet, message, port, learned)?;
            Ok(Ok(Spoken { nameless: message.solicitation, places, claim, error: false }))
        }
        icmpv6::ROUTER_ADVERTISEMENT => {
            hold(port, Rule::RouterAdvertisement, false)?;
            Ok(Ok(SILENT))
        }
        icmpv6::REDIRECT => {
            hold(port, Rule::Redirect, false)?;
            Ok(Ok(SILENT))
        }
        // Reports for the group of an address that is still tentative have no source (RFC 3590).
        icmpv6::MLD_REPORT | icmpv6::MLDV2_REPORT => Ok(Ok(Spoken { nameless: true, ..SILENT })),
        _ => Ok(Ok(Spoken { error: kind < icmpv6::FIRST_INFORMATIONAL, ..SILENT })),
    }
}
