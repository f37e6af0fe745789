// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 (RFC 8200) and its extension headers.

use crate::{
    address::V6,
    packet::{Header as _, Packet},
};

/// Length of the header.
pub const HEADER: usize = 40;
/// Next header number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next header number of TCP.
pub const TCP: u8 = 6;
/// Next header number of UDP.
pub const UDP: u8 = 17;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// More extension headers than this in front of the transport header are refused: nobody's real traffic has them,
/// and they are how filters are evaded (RFC 7113).
const MAX_EXTENSIONS: usize = 4;

/// The fields of the header that policy looks at.
#[derive(Clone, Copy)]
pub struct Ipv6 {
    /// Bytes behind the header.
    pub payload: usize,
    /// Number of the header that follows.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: V6,
    /// Destination address.
    pub destination: V6,
}

/// What follows the chain of extension headers.
#[derive(Clone, Copy)]
pub struct Upper {
    /// Next header number of the transport header.
    pub protocol: u8,
    /// Its offset from the start of the frame.
    pub at: usize,
    /// Whether the packet has a fragment header.
    pub fragment: bool,
    /// Whether the transport header is in this packet: `false` for later fragments.
    pub present: bool,
}

/// Reads the header at `at`; `None` when it is cut or is not version 6.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Ipv6> {
    let header = packet.header::<HEADER>(at)?;
    if header.u8::<0>() >> 4 != 6 {
        return None;
    }
    Some(Ipv6 {
        payload: header.be16::<4>() as usize,
        next: header.u8::<6>(),
        hop_limit: header.u8::<7>(),
        source: header.v6::<8, 16>(),
        destination: header.v6::<24, 32>(),
    })
}

/// Walks the extension headers of the packet whose first one, of number `next`, is at `at` and which ends at `end`;
/// `None` when they are cut, leave the packet or are too many.
#[inline(always)]
pub fn upper<P: Packet + ?Sized>(packet: &P, next: u8, at: usize, end: usize) -> Option<Upper> {
    let mut upper = Upper { protocol: next, at, fragment: false, present: true };
    if !is_extension(next) {
        return Some(upper);
    }
    for _ in 0..MAX_EXTENSIONS {
        let header = packet.header::<8>(upper.at)?;
        let length = match upper.protocol {
            FRAGMENT => {
                upper.fragment = true;
                upper.present = header.be16::<2>() >> 3 == 0;
                8
            }
            // Counted in words of 4 bytes, less two (RFC 4302, section 2.2).
            AUTHENTICATION => (header.u8::<1>() as usize + 2) * 4,
            _ => (header.u8::<1>() as usize + 1) * 8,
        };
        upper.protocol = header.u8::<0>();
        upper.at = packet.settle(upper.at + length)?;
        if upper.at > end {
            return None;
        }
        if !upper.present || !is_extension(upper.protocol) {
            return Some(upper);
        }
    }
    None
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
}
