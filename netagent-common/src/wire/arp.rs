// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP for IPv4 over Ethernet (RFC 826). Offsets are from the ARP header on.

use crate::{
    address::{Mac, V4},
    packet::{Header as _, Packet},
};

/// Offset of the sender's hardware address.
pub const SENDER_MAC: usize = 8;
/// Offset of the target's hardware address.
pub const TARGET_MAC: usize = 18;
/// Length of a request or reply.
const LENGTH: usize = 28;

/// A request or reply.
#[derive(Clone, Copy)]
pub struct Arp {
    /// A request; else a reply.
    pub request: bool,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address.
    pub sender: V4,
    /// Target hardware address.
    pub target_mac: Mac,
    /// Target protocol address.
    pub target: V4,
}

/// Reads the packet at `at`; `None` also for any other hardware or protocol than Ethernet and IPv4, and for any other
/// operation.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Arp> {
    const REQUEST: u64 = u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 1]);
    const REPLY: u64 = u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 2]);
    let header = packet.header::<LENGTH>(at)?;
    let start = header.u64::<0>();
    if start != REQUEST && start != REPLY {
        return None;
    }
    Some(Arp {
        request: start == REQUEST,
        sender_mac: Mac::first_of(header.u64::<SENDER_MAC>()),
        sender: header.v4::<14>(),
        target_mac: Mac::first_of(header.u64::<TARGET_MAC>()),
        target: header.v4::<24>(),
    })
}
