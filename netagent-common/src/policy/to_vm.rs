// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames for the guest: what is addressed to it, and groups; nothing else reaches the tap.

use super::{Meta, Verdict, from_vm::is_link_local};
use crate::{
    counters::DropReason,
    maps::Port,
    packet::{Packet, PacketMut},
    wire::{arp, eth, ipv4, ipv6},
};

/// Judges a frame for the guest and gives it the guest's MAC: CNIs that redirect deliver with another one.
#[inline(always)]
pub fn to_vm<P: PacketMut + ?Sized>(packet: &mut P, meta: Meta, port: &Port) -> Verdict {
    match judge(packet, meta, port) {
        Ok(Allowed { unicast, arp_target }) => match give_guest_mac(packet, port, unicast, arp_target) {
            Some(()) => Verdict::Forward,
            None => Verdict::Drop(DropReason::Malformed),
        },
        Err(reason) => Verdict::Drop(reason),
    }
}

struct Allowed {
    /// The Ethernet destination is one station that is not the guest.
    unicast: bool,
    /// The ARP target is the pod link's MAC, which the guest does not know as its own.
    arp_target: bool,
}

#[inline(always)]
fn judge<P: Packet + ?Sized>(packet: &P, meta: Meta, port: &Port) -> Result<Allowed, DropReason> {
    let eth = eth::read(packet).ok_or(DropReason::Malformed)?;
    if meta.vlan {
        return Err(DropReason::Vlan);
    }
    let mut arp_target = false;
    let for_guest = match eth.ethertype {
        eth::IPV4 => {
            let ip = ipv4::read(packet).ok_or(DropReason::Malformed)?;
            ipv4_reaches_guest(&ip.destination, port)
        }
        eth::ARP => {
            let arp = arp::read(packet).ok_or(DropReason::Malformed)?;
            arp_target = arp.target_mac == port.pod_mac && port.pod_mac != port.guest_mac;
            true
        }
        eth::IPV6 => {
            let ip = ipv6::read(packet).ok_or(DropReason::Malformed)?;
            ip.destination[0] == 0xff || is_link_local(&ip.destination) || owns_ipv6(&ip.destination, port)
        }
        _ => return Err(DropReason::Ethertype),
    };
    if for_guest {
        let unicast = !eth::is_group(&eth.destination) && eth.destination != port.guest_mac;
        Ok(Allowed { unicast, arp_target })
    } else {
        Err(DropReason::Destination)
    }
}

#[inline(always)]
fn ipv4_reaches_guest(destination: &[u8; 4], port: &Port) -> bool {
    if *destination == [0; 4] {
        return false;
    }
    let multicast = destination[0] & 0xf0 == 0xe0;
    multicast
        || *destination == [255; 4]
        || port.ipv4.contains(destination)
        || port.ipv4_broadcast.contains(destination)
}

#[inline(always)]
fn owns_ipv6(destination: &[u8; 16], port: &Port) -> bool {
    *destination != [0; 16] && port.ipv6.contains(destination)
}

#[inline(always)]
fn give_guest_mac<P: PacketMut + ?Sized>(
    packet: &mut P,
    port: &Port,
    unicast: bool,
    arp_target: bool,
) -> Option<()> {
    if unicast {
        packet.store(eth::DESTINATION, port.guest_mac)?;
    }
    if arp_target {
        packet.store(arp::TARGET_MAC, port.guest_mac)?;
    }
    Some(())
}
