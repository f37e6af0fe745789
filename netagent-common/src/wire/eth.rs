// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet II (IEEE 802.3, clause 3) and VLAN tags (IEEE 802.1Q, clause 9).

use crate::{
    address::Mac,
    packet::{Header as _, Packet},
};

/// Offset of the destination address.
pub const DESTINATION: usize = 0;
/// Offset of the source address.
pub const SOURCE: usize = 6;
/// Length of the header; the payload of a frame without a tag starts here.
pub const HEADER: usize = 14;
/// Bytes that a tag adds.
pub const TAG: usize = 4;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a customer's VLAN tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of a provider's VLAN tag (IEEE 802.1ad).
pub const PROVIDER_VLAN: u16 = 0x88a8;

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

/// A VLAN tag, or none: not an `Option`, because the verifier refuses to copy the fields that a `None` leaves unwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// [`VLAN`] or [`PROVIDER_VLAN`]; 0: there is no tag.
    pub protocol: u16,
    /// Priority, drop eligibility and VLAN id, in host order.
    pub tci: u16,
}

impl Tag {
    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.protocol == 0
    }

    /// The VLAN id: 0 is none, 4095 reserved.
    #[inline(always)]
    pub const fn id(self) -> u16 {
        self.tci & 0xfff
    }
}

/// Reads the header.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P) -> Option<Eth> {
    let header = packet.header::<HEADER>(0)?;
    // One word holds the source and, behind it, the EtherType.
    let word = header.u64::<SOURCE>();
    let [.., high, low] = word.to_ne_bytes();
    Some(Eth {
        destination: Mac::first_of(header.u64::<DESTINATION>()),
        source: Mac::first_of(word),
        ethertype: u16::from_be_bytes([high, low]),
    })
}

/// Whether the EtherType is that of a tag.
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    ethertype == VLAN || ethertype == PROVIDER_VLAN
}
