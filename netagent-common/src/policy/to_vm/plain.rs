// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short way for what nearly all frames for a guest are: untagged, for its MAC and the port's first address, and not
//! ICMPv6.
//!
//! As in the other direction it only ever says yes, and only where [`to_vm`](super::to_vm) would forward the frame as it
//! is. It writes nothing: before a program that may write, the kernel copies the head of every frame that is cloned
//! (`bpf_unclone_prologue` of net/core/filter.c), and each TCP segment of a local sender is.

use super::super::Meta;
use crate::{
    address::{Mac, V4},
    maps::Port,
    packet::{Header, Packet},
    wire::{eth, ipv4, ipv6},
};

const OVER_IPV4: usize = eth::HEADER + ipv4::HEADER;
const OVER_IPV6: usize = eth::HEADER + ipv6::HEADER;

/// Whether the frame keeps to all rules at first sight, and is delivered without a change. `false` decides nothing.
#[inline(always)]
pub fn is_plain<P: Packet + ?Sized>(packet: &P, meta: Meta, port: &Port) -> bool {
    if !meta.tag.is_none() {
        return false;
    }
    let Some(frame) = packet.header::<OVER_IPV4>(0) else { return false };
    if Mac::first_of(frame.u64::<{ eth::DESTINATION }>()) != port.guest_mac {
        return false;
    }
    match frame.be16::<12>() {
        eth::IPV4 => over_ipv4(frame, port),
        eth::IPV6 => packet.header::<OVER_IPV6>(0).is_some_and(|frame| over_ipv6(frame, port)),
        _ => false,
    }
}

#[inline(always)]
fn over_ipv4(frame: impl Header<OVER_IPV4>, port: &Port) -> bool {
    let [first, _, high, low] = frame.u32::<14>().to_ne_bytes();
    let destination = frame.v4::<30>();
    // Version 4, and five words of header.
    first == 0x45
        && u16::from_be_bytes([high, low]) as usize >= ipv4::HEADER
        && destination == port.ipv4[0]
        && destination != V4::UNSPECIFIED
}

#[inline(always)]
fn over_ipv6(frame: impl Header<OVER_IPV6>, port: &Port) -> bool {
    let destination = frame.v6::<38, 46>();
    frame.u8::<14>() >> 4 == 6
        && frame.u8::<20>() != ipv6::ICMPV6
        && destination.is(port.ipv6[0])
        && !destination.is_unspecified()
}
