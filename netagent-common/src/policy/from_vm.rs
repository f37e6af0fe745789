// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that the guest sends: they leave with the port's identity or not at all.

use super::{Meta, Verdict};
use crate::{
    counters::DropReason,
    maps::{Port, PuntKind},
    packet::{Packet, PacketMut},
    wire::{arp, eth, ipv4, ipv6, udp},
};

/// Judges a frame from the guest and gives it the pod link's MAC where the guest has another one.
#[inline(always)]
pub fn from_vm<P: PacketMut + ?Sized>(packet: &mut P, meta: Meta, port: &Port) -> Verdict {
    match judge(packet, meta, port) {
        Ok(Allowed::Punt(kind)) => Verdict::Punt(kind),
        Ok(Allowed::Forward { arp }) => match give_pod_mac(packet, port, arp) {
            Some(()) => Verdict::Forward,
            None => Verdict::Drop(DropReason::Malformed),
        },
        Err(reason) => Verdict::Drop(reason),
    }
}

enum Allowed {
    Forward { arp: bool },
    Punt(PuntKind),
}

#[inline(always)]
fn judge<P: Packet + ?Sized>(packet: &P, meta: Meta, port: &Port) -> Result<Allowed, DropReason> {
    let eth = eth::read(packet).ok_or(DropReason::Malformed)?;
    if eth.source != port.guest_mac {
        return Err(DropReason::SourceMac);
    }
    if meta.vlan {
        return Err(DropReason::Vlan);
    }
    // redirect_peer skips the check that veth makes on the plain path (__dev_forward_skb, net/core/dev.c).
    let oversized = if meta.gso_size == 0 {
        meta.len > port.mtu.saturating_add(eth::HEADER as u32)
    } else {
        // The size comes from the guest's virtio header: it must not talk its way past the MTU.
        meta.gso_size > port.mtu
    };
    if oversized {
        return Err(DropReason::Oversized);
    }
    match eth.ethertype {
        eth::IPV4 => from_ipv4(packet, port),
        eth::ARP => from_arp(packet, port),
        eth::IPV6 => from_ipv6(packet, port),
        _ => Err(DropReason::Ethertype),
    }
}

#[inline(always)]
fn from_ipv4<P: Packet + ?Sized>(packet: &P, port: &Port) -> Result<Allowed, DropReason> {
    let ip = ipv4::read(packet).ok_or(DropReason::Malformed)?;
    if ip.protocol == ipv4::UDP && ip.first_fragment {
        let (source, destination) = udp::ports(packet, ip.payload).ok_or(DropReason::Malformed)?;
        if destination == udp::DHCPV4_SERVER {
            return Ok(Allowed::Punt(PuntKind::Dhcpv4));
        }
        if source == udp::DHCPV4_SERVER && destination == udp::DHCPV4_CLIENT {
            return Err(DropReason::DhcpServer);
        }
    }
    if ip.source != [0; 4] && port.ipv4.contains(&ip.source) {
        Ok(Allowed::Forward { arp: false })
    } else {
        Err(DropReason::SourceIpv4)
    }
}

#[inline(always)]
fn from_arp<P: Packet + ?Sized>(packet: &P, port: &Port) -> Result<Allowed, DropReason> {
    let arp = arp::read(packet).ok_or(DropReason::Malformed)?;
    // 0.0.0.0 is the sender of an address probe (RFC 5227, section 2.1.1); it claims nothing.
    let own = arp.sender == [0; 4] || port.ipv4.contains(&arp.sender);
    if own && arp.sender_mac == port.guest_mac {
        Ok(Allowed::Forward { arp: true })
    } else {
        Err(DropReason::ArpSender)
    }
}

#[inline(always)]
fn from_ipv6<P: Packet + ?Sized>(packet: &P, port: &Port) -> Result<Allowed, DropReason> {
    let ip = ipv6::read(packet).ok_or(DropReason::Malformed)?;
    let upper = ipv6::upper(packet).ok_or(DropReason::Malformed)?;
    if upper.present {
        if upper.protocol == ipv6::ICMPV6 {
            let [kind, _code] = packet.load(upper.at).ok_or(DropReason::Malformed)?;
            match kind {
                ipv6::ROUTER_SOLICITATION => return Ok(Allowed::Punt(PuntKind::RouterSolicitation)),
                ipv6::ROUTER_ADVERTISEMENT => return Err(DropReason::RouterAdvertisement),
                _ => {}
            }
        } else if upper.protocol == ipv6::UDP {
            let (source, destination) = udp::ports(packet, upper.at).ok_or(DropReason::Malformed)?;
            if destination == udp::DHCPV6_SERVER {
                return Ok(Allowed::Punt(PuntKind::Dhcpv6));
            }
            if source == udp::DHCPV6_SERVER && destination == udp::DHCPV6_CLIENT {
                return Err(DropReason::DhcpServer);
            }
        }
    }
    // `::` is the source of duplicate address detection (RFC 4862, section 5.4.2); it equals the unused places.
    let own = port.ipv6.contains(&ip.source) || is_link_local(&ip.source) || ip.source == [0; 16];
    if own { Ok(Allowed::Forward { arp: false }) } else { Err(DropReason::SourceIpv6) }
}

#[inline(always)]
pub(super) fn is_link_local(address: &[u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

#[inline(always)]
fn give_pod_mac<P: PacketMut + ?Sized>(packet: &mut P, port: &Port, arp: bool) -> Option<()> {
    if port.guest_mac == port.pod_mac {
        return Some(());
    }
    packet.store(eth::SOURCE, port.pod_mac)?;
    if arp {
        packet.store(arp::SENDER_MAC, port.pod_mac)?;
    }
    Some(())
}
