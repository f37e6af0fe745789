// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv4 (RFC 791).

use crate::{
    address::V4,
    packet::{Header as _, Packet},
};

/// Length of a header without options.
pub const HEADER: usize = 20;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// The fields of the header that policy looks at.
#[derive(Clone, Copy)]
pub struct Ipv4 {
    /// Length of the header with its options, in bytes.
    pub header: usize,
    /// Length of the packet with its header, in bytes; 0 of a packet to be segmented that is longer than 65,535 bytes
    /// (BIG TCP, `iph_set_totlen` of include/linux/ip.h).
    pub total: usize,
    /// Protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: V4,
    /// Destination address.
    pub destination: V4,
    /// Whether this is the first (or only) fragment: the one that holds the transport header.
    pub first_fragment: bool,
}

/// Reads the header at `at`; `None` when it is cut, is not version 4, or is longer than the packet says it is.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Ipv4> {
    let start = packet.header::<HEADER>(at)?;
    let version_ihl = start.u8::<0>();
    let header = (version_ihl & 0xf) as usize * 4;
    let total = start.be16::<2>() as usize;
    if version_ihl >> 4 != 4 || header < HEADER || (total < header && total != 0) {
        return None;
    }
    Some(Ipv4 {
        header,
        total,
        protocol: start.u8::<9>(),
        source: start.v4::<12>(),
        destination: start.v4::<16>(),
        first_fragment: start.be16::<6>() & 0x1fff == 0,
    })
}

/// Whether an ICMP message of this type reports an error, so that no error may answer it (RFC 1122, section 3.2.2).
#[inline(always)]
pub const fn is_icmp_error(kind: u8) -> bool {
    const UNREACHABLE: u8 = 3;
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    const TIME_EXCEEDED: u8 = 11;
    const PARAMETER_PROBLEM: u8 = 12;
    matches!(kind, UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}
