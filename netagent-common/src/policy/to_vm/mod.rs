// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames for the guest: what is addressed to it, and groups; nothing else reaches the tap.

mod plain;

pub use plain::is_plain;

use super::{
    Meta, Verdict, hold, link, own,
    rewrite::{self, Places},
};
use crate::{
    address::{V4, V6},
    counters::DropReason,
    maps::Port,
    packet::{FAR, Header as _, NEAR, Packet, PacketMut},
    rule::Rule,
    wire::{
        arp,
        eth::{self, Eth},
        icmpv6, ipv4,
        ipv6::{self, Ipv6},
        nd,
    },
};

/// What is known of a frame that may go to the guest.
struct Allowed {
    /// Where the payload names the pod link's MAC, which the guest does not know as its own.
    places: Places,
    /// A link-local address that somebody else has; `::`: none. Not an `Option`, because the verifier refuses to copy what
    /// a `None` leaves unwritten.
    forget: V6,
}

const PLAIN: Allowed =
    Allowed { places: Places { plain: 0, option: 0, message: 0 }, forget: V6::UNSPECIFIED };

/// Judges a frame for the guest and gives it the guest's MAC: CNIs that redirect deliver with another one.
///
/// `learned` is as for [`from_vm`](super::from_vm()).
#[inline(always)]
pub fn to_vm<P: PacketMut + ?Sized>(
    packet: &mut P,
    meta: Meta,
    port: &Port,
    learned: impl Fn() -> V6,
) -> Verdict {
    packet.reach(NEAR);
    let judged = judge(packet, meta, port, &learned);
    let allowed = match judged {
        Ok(allowed) => allowed,
        Err(DropReason::Malformed) if port.holds_to_nothing() => PLAIN,
        Err(reason) => return Verdict::Drop(reason),
    };
    match give_guest_mac(packet, port, allowed.places) {
        Some(()) if allowed.forget.is_unspecified() => Verdict::Forward,
        Some(()) => Verdict::Forget(allowed.forget),
        None => Verdict::Drop(DropReason::Malformed),
    }
}

#[inline(always)]
fn judge<P: PacketMut + ?Sized>(
    packet: &mut P,
    meta: Meta,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Result<Allowed, DropReason> {
    let eth = eth::read(packet).ok_or(DropReason::Malformed)?;
    let link = link::read(packet, eth.ethertype, meta, port)?;
    match link.ethertype {
        eth::IPV4 => {
            let ip = ipv4::read(packet, link.at).ok_or(DropReason::Malformed)?;
            if ip.total == 0 && meta.gso_size == 0 {
                return Err(DropReason::Malformed);
            }
            hold(port, Rule::Destination, ipv4_reaches_guest(ip.destination, port))?;
            Ok(PLAIN)
        }
        eth::IPV6 => {
            let ip = ipv6::read(packet, link.at).ok_or(DropReason::Malformed)?;
            let reaches = ip.destination.is_multicast() || own::v6(ip.destination, port, learned);
            hold(port, Rule::Destination, reaches)?;
            if ip.next != ipv6::ICMPV6 {
                return Ok(PLAIN);
            }
            packet.reach(FAR);
            Ok(heard(packet, eth, ip, link.at + ipv6::HEADER, port, learned).unwrap_or(PLAIN))
        }
        eth::ARP => {
            let arp = arp::read(packet, link.at).ok_or(DropReason::Malformed)?;
            let plain = if arp.target_mac == port.pod_mac { link.at + arp::TARGET_MAC } else { 0 };
            Ok(Allowed { places: Places { plain, ..Places::default() }, ..PLAIN })
        }
        _ => {
            link::other(link, port)?;
            Ok(PLAIN)
        }
    }
}

#[inline(always)]
fn ipv4_reaches_guest(destination: V4, port: &Port) -> bool {
    own::v4(destination, port)
        || destination.is_multicast()
        || destination == V4::BROADCAST
        || destination != V4::UNSPECIFIED && port.ipv4_broadcast.contains(&destination)
}

/// What an ICMPv6 message says about MACs and about the learned address; `None` for one that is not neighbour discovery
/// or is cut: it goes to the guest as it came.
#[inline(always)]
fn heard<P: Packet + ?Sized>(
    packet: &P,
    eth: Eth,
    ip: Ipv6,
    at: usize,
    port: &Port,
    learned: &impl Fn() -> V6,
) -> Option<Allowed> {
    let kind = packet.header::<4>(at)?.u8::<0>();
    let fixed = match kind {
        icmpv6::ROUTER_SOLICITATION => 8,
        icmpv6::ROUTER_ADVERTISEMENT => 16,
        icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT => nd::NEIGHBOUR,
        icmpv6::REDIRECT => 40,
        _ => return None,
    };
    let mut allowed = PLAIN;
    // What the guest itself sent and a switch sent back defends nothing.
    if kind == icmpv6::NEIGHBOUR_ADVERTISEMENT
        && ip.hop_limit == 255
        && eth.source != port.pod_mac
        && eth.source != port.guest_mac
    {
        let target = nd::target(packet, at)?;
        if target.is_link_local() && target.is(learned()) {
            allowed.forget = target;
        }
    }
    if port.guest_mac != port.pod_mac
        && let Some(option) = nd::link_address(packet, at + fixed, at + ip.payload)
        && !option.is_none()
        && option.is_ethernet()
        && option.mac == port.pod_mac
    {
        allowed.places = Places { plain: 0, option: option.at, message: at };
    }
    Some(allowed)
}

#[inline(always)]
fn give_guest_mac<P: PacketMut + ?Sized>(packet: &mut P, port: &Port, places: Places) -> Option<()> {
    let destination = eth::read(packet)?.destination;
    if destination != port.guest_mac && !destination.is_group() {
        packet.put_mac(eth::DESTINATION, port.guest_mac)?;
    }
    if port.guest_mac == port.pod_mac {
        return Some(());
    }
    rewrite::replace(packet, places, port.pod_mac, port.guest_mac)
}
