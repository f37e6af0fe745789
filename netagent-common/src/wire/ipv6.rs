// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 (RFC 8200) and the few ICMPv6 types that policy knows.

use super::eth::HEADER;
use crate::packet::Packet;

/// Next header number of UDP.
pub const UDP: u8 = 17;
/// Next header number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// ICMPv6 type: router solicitation (RFC 4861, section 4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// ICMPv6 type: router advertisement (RFC 4861, section 4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;

/// More extension headers than this in front of the transport header are refused: nobody's real traffic has them,
/// and they are how filters are evaded (RFC 7113).
const MAX_EXTENSIONS: usize = 4;

/// The addresses of the header.
#[derive(Clone, Copy)]
pub struct Ipv6 {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

/// What follows the chain of extension headers.
#[derive(Clone, Copy)]
pub struct Upper {
    /// Next header number of the transport header.
    pub protocol: u8,
    /// Its offset from the start of the frame.
    pub at: usize,
    /// Whether the transport header is in this packet: `false` for later fragments.
    pub present: bool,
}

/// Reads the addresses; `None` when the header is cut or is not version 6.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P) -> Option<Ipv6> {
    let [version, _] = packet.load(HEADER)?;
    if version >> 4 != 6 {
        return None;
    }
    Some(Ipv6 { source: packet.load(HEADER + 8)?, destination: packet.load(HEADER + 24)? })
}

/// Walks the extension headers (RFC 8200, section 4); `None` when they are cut or too many.
#[inline(always)]
pub fn upper<P: Packet + ?Sized>(packet: &P) -> Option<Upper> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;

    let [mut protocol, _hop_limit] = packet.load(HEADER + 6)?;
    let mut at = HEADER + 40;
    for _ in 0..=MAX_EXTENSIONS {
        match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let [next, length] = packet.load(at)?;
                protocol = next;
                at += 8 + length as usize * 8;
            }
            FRAGMENT => {
                let [next, _, hi, lo] = packet.load(at)?;
                if u16::from_be_bytes([hi, lo]) >> 3 != 0 {
                    return Some(Upper { protocol: next, at: at + 8, present: false });
                }
                protocol = next;
                at += 8;
            }
            _ => return Some(Upper { protocol, at, present: true }),
        }
    }
    None
}
