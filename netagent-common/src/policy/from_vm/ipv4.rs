// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv4 from the guest.

use super::{
    super::{hold, own},
    Allowed, Frame, Places, TCP_HEADER,
};
use crate::{
    address::V4,
    counters::DropReason,
    maps::{Port, PuntKind},
    packet::{Header as _, Packet, PacketMut},
    rule::Rule,
    wire::{
        ipv4::{self, Ipv4},
        udp,
    },
};

#[inline(always)]
pub(super) fn judge<P: PacketMut + ?Sized>(
    packet: &mut P,
    frame: Frame,
    port: &Port,
) -> Result<Allowed, DropReason> {
    let ip = ipv4::read(packet, frame.link.at).ok_or(DropReason::Malformed)?;
    // A packet to be segmented may say anything: the kernel writes the length of each segment.
    if !frame.is_segmented() && (ip.total > frame.network_len() || ip.total == 0) {
        return Err(DropReason::Malformed);
    }
    let payload = frame.link.at + ip.header;
    if ip.protocol != ipv4::TCP || frame.is_segmented() {
        packet.reach(payload + if ip.protocol == ipv4::TCP { TCP_HEADER } else { udp::HEADER });
    }
    let mut nameless = false;
    if ip.protocol == ipv4::UDP && ip.first_fragment {
        // The ports are read where they are: a first fragment that ends before them would hide them (RFC 1858).
        if ip.total < ip.header + udp::HEADER {
            return Err(DropReason::Malformed);
        }
        let to = udp::destination_port(packet, payload).ok_or(DropReason::Malformed)?;
        if to == udp::DHCPV4_SERVER {
            if frame.is_for_agent(port) {
                return Ok(Allowed::Punt(PuntKind::Dhcpv4));
            }
            // Another network's server is asked there, by a guest that has no address yet.
            nameless = ip.source == V4::UNSPECIFIED;
        }
        // Clients take answers from any source port.
        hold(port, Rule::DhcpServer, to != udp::DHCPV4_CLIENT)?;
    }
    hold(port, Rule::SourceIpv4, own::v4(ip.source, port) || nameless)?;
    if frame.is_segmented() || !frame.fits(port) {
        let fits =
            frame.is_segmented() && frame.segments_fit(ip.header + transport_len(packet, ip, payload)?, port);
        if !fits {
            return frame.too_big(port, may_be_answered(packet, ip, payload));
        }
    }
    Ok(Allowed::Forward(Places::default()))
}

/// Length of the transport header that every segment gets a copy of.
#[inline(always)]
fn transport_len<P: Packet + ?Sized>(packet: &P, ip: Ipv4, at: usize) -> Result<usize, DropReason> {
    match ip.protocol {
        ipv4::TCP => {
            let tcp = packet.header::<TCP_HEADER>(at).ok_or(DropReason::Malformed)?;
            Ok((tcp.u8::<12>() >> 4) as usize * 4)
        }
        _ => Ok(udp::HEADER),
    }
}

/// Whether an ICMP error may answer the packet (RFC 1122, section 3.2.2).
#[inline(always)]
fn may_be_answered<P: Packet + ?Sized>(packet: &P, ip: Ipv4, at: usize) -> bool {
    if !ip.first_fragment || ip.destination.is_multicast() || ip.destination == V4::BROADCAST {
        return false;
    }
    ip.protocol != ipv4::ICMP
        || packet.header::<4>(at).is_some_and(|icmp| !ipv4::is_icmp_error(icmp.u8::<0>()))
}
