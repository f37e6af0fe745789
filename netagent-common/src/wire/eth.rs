// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet II (IEEE 802.3, clause 3).

use crate::packet::Packet;

/// Offset of the destination address.
pub const DESTINATION: usize = 0;
/// Offset of the source address.
pub const SOURCE: usize = 6;
/// Length of the header; the payload starts here.
pub const HEADER: usize = 14;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A 48-bit station or group address in wire order.
pub type Mac = [u8; 6];

/// The header.
#[derive(Clone, Copy)]
pub struct Eth {
    /// Destination address.
    pub destination: Mac,
    /// Source address.
    pub source: Mac,
    /// EtherType in host order.
    pub ethertype: u16,
}

/// Reads the header.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P) -> Option<Eth> {
    Some(Eth {
        destination: packet.load(DESTINATION)?,
        source: packet.load(SOURCE)?,
        ethertype: u16::from_be_bytes(packet.load(12)?),
    })
}

/// Whether the group bit is set: multicast or broadcast.
#[inline(always)]
pub fn is_group(mac: &Mac) -> bool {
    mac[0] & 1 != 0
}
