// SPDX-License-Identifier: MIT OR Apache-2.0
//! UDP (RFC 768) and the ports that policy knows.

use crate::packet::{Header as _, Packet};

/// Length of the header.
pub const HEADER: usize = 8;
/// Server port of DHCPv4 (RFC 2131, section 4.1).
pub const DHCPV4_SERVER: u16 = 67;
/// Client port of DHCPv4.
pub const DHCPV4_CLIENT: u16 = 68;
/// Server port of DHCPv6 (RFC 8415, section 7.2).
pub const DHCPV6_SERVER: u16 = 547;
/// Client port of DHCPv6.
pub const DHCPV6_CLIENT: u16 = 546;

/// Destination port of the header at `at`.
#[inline(always)]
pub fn destination_port<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<u16> {
    Some(packet.header::<HEADER>(at)?.be16::<2>())
}
