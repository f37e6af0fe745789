// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP for IPv4 over Ethernet (RFC 826).

use super::eth::{HEADER, Mac};
use crate::packet::Packet;

/// Offset of the sender's hardware address.
pub const SENDER_MAC: usize = HEADER + 8;
/// Offset of the target's hardware address.
pub const TARGET_MAC: usize = HEADER + 18;

/// The sender and the target of a request or reply.
#[derive(Clone, Copy)]
pub struct Arp {
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address.
    pub sender: [u8; 4],
    /// Target hardware address.
    pub target_mac: Mac,
}

/// Reads the packet; `None` also for any other hardware or protocol than Ethernet and IPv4.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P) -> Option<Arp> {
    const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
    if packet.load::<6>(HEADER)? != ETHERNET_IPV4 {
        return None;
    }
    // The target protocol address is the last field: a frame that ends before it is cut.
    packet.load::<4>(HEADER + 24)?;
    Some(Arp {
        sender_mac: packet.load(SENDER_MAC)?,
        sender: packet.load(HEADER + 14)?,
        target_mac: packet.load(TARGET_MAC)?,
    })
}
