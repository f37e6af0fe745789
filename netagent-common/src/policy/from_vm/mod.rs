// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that the guest sends: they leave with the port's identity or not at all.

mod arp;
mod icmpv6;
mod ipv4;
mod ipv6;
mod neighbour;
mod plain;

pub use plain::is_plain;

use super::{
    Meta, Verdict, hold,
    link::{self, Link},
    rewrite::{self, Places},
};
use crate::{
    address::{Mac, V6},
    counters::DropReason,
    maps::{BRIDGED, Port, PuntKind, UNSERVED},
    packet::{NEAR, PacketMut},
    rule::Rule,
    wire::eth::{self, Eth},
};

/// Length of a TCP header without options.
const TCP_HEADER: usize = 20;

/// What the rules say of a frame that breaks none of them.
enum Allowed {
    Forward(Places),
    Claim(V6, Places),
    Punt(PuntKind),
    TooBig,
}

/// Judges a frame from the guest and gives it the pod link's MAC where the guest has another one.
///
/// `learned` reads the port's [`Learned::address`](crate::maps::Learned::address); it is asked only for link-local
/// addresses that the guest did not form from its MAC.
#[inline(always)]
pub fn from_vm<P: PacketMut + ?Sized>(
    packet: &mut P,
    meta: Meta,
    port: &Port,
    learned: impl Fn() -> V6,
) -> Verdict {
    packet.reach(NEAR);
    let judged = judge(packet, meta, port, &learned);
    let forward = |packet: &mut P, places, verdict| match give_pod_mac(packet, port, places) {
        Some(()) => verdict,
        None => Verdict::Drop(DropReason::Malformed),
    };
    match judged {
        Ok(Allowed::Forward(places)) => forward(packet, places, Verdict::Forward),
        Ok(Allowed::Claim(target, places)) => forward(packet, places, Verdict::Claim(target)),
        Ok(Allowed::Punt(_)) if port.flags & BRIDGED != 0 => Verdict::Bridge,
        Ok(Allowed::Punt(kind)) => Verdict::Punt(kind),
        Ok(Allowed::TooBig) => Verdict::TooBig,
        // Rules rest on headers that can be read; where there are none, so may be the headers.
        Err(DropReason::Malformed) if port.holds_to_nothing() => {
            forward(packet, Places::default(), Verdict::Forward)
        }
        Err(reason) => Verdict::Drop(reason),
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
    hold(port, Rule::SourceMac, eth.source == port.guest_mac)?;
    let link = link::read(packet, eth.ethertype, meta, port)?;
    let frame = Frame { eth, link, meta };
    match link.ethertype {
        eth::IPV4 => ipv4::judge(packet, frame, port),
        eth::IPV6 => ipv6::judge(packet, frame, port, learned),
        eth::ARP => {
            hold(port, Rule::Oversized, frame.fits(port))?;
            arp::judge(packet, frame, port)
        }
        _ => {
            hold(port, Rule::Oversized, frame.fits(port))?;
            link::other(link, port)?;
            Ok(Allowed::Forward(Places::default()))
        }
    }
}

/// What is known of a frame when its network header's turn comes.
#[derive(Clone, Copy)]
struct Frame {
    eth: Eth,
    link: Link,
    meta: Meta,
}

impl Frame {
    /// Bytes from the network header on.
    #[inline(always)]
    fn network_len(&self) -> usize {
        (self.meta.len as usize).saturating_sub(self.link.at)
    }

    /// Whether the agent answers what it asks of a DHCP server or a router: not for another network, which a tag names,
    /// and not where nobody is served.
    #[inline(always)]
    fn is_for_agent(&self, port: &Port) -> bool {
        !self.link.tagged && port.flags & UNSERVED == 0
    }

    /// Whether it is to be cut into segments: then its length says nothing about the MTU.
    #[inline(always)]
    fn is_segmented(&self) -> bool {
        self.meta.gso_size != 0
    }

    /// Whether a frame that is not IP keeps to the MTU. `redirect_peer` skips the check that veth makes on the plain
    /// path (`__dev_forward_skb`, net/core/dev.c).
    #[inline(always)]
    fn fits(&self, port: &Port) -> bool {
        self.network_len() <= port.mtu as usize
    }

    /// Whether an IP packet, or each segment of it with headers of `headers` bytes, keeps to the MTU. The segment size
    /// comes from the guest's virtio header: it must not talk its way past the MTU.
    #[inline(always)]
    fn segments_fit(&self, headers: usize, port: &Port) -> bool {
        (self.meta.gso_size as usize).saturating_add(headers) <= port.mtu as usize
    }

    /// The verdict for an IP packet over the MTU, once all other rules have been kept.
    #[inline(always)]
    fn too_big(&self, port: &Port, answerable: bool) -> Result<Allowed, DropReason> {
        if port.holds_to(Rule::Oversized) {
            tell_too_big(self.eth, answerable)
        } else {
            Ok(Allowed::Forward(Places::default()))
        }
    }
}

/// Refuses an IP packet over the MTU: told to the guest where an ICMP error may answer it, so that it learns the path's
/// MTU.
#[inline(always)]
fn tell_too_big(eth: Eth, answerable: bool) -> Result<Allowed, DropReason> {
    if answerable && !eth.destination.is_group() { Ok(Allowed::TooBig) } else { Err(DropReason::Oversized) }
}

/// Only a frame that names the guest's MAC is rewritten: where `source_mac` is off, others leave as they came.
#[inline(always)]
fn give_pod_mac<P: PacketMut + ?Sized>(packet: &mut P, port: &Port, places: Places) -> Option<()> {
    if port.guest_mac == port.pod_mac {
        return Some(());
    }
    let eth = eth::read(packet)?;
    if eth.source != port.guest_mac {
        return Some(());
    }
    packet.put_mac(eth::SOURCE, port.pod_mac)?;
    rewrite::replace(packet, places, port.guest_mac, port.pod_mac)
}

/// The place of a MAC that may be rewritten: only the guest's is.
#[inline(always)]
fn place_of(mac: Mac, at: usize, port: &Port) -> usize {
    if mac == port.guest_mac { at } else { 0 }
}
