// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv4 (RFC 791).

use super::eth::HEADER;
use crate::packet::Packet;

/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// The fields of the header that policy looks at.
#[derive(Clone, Copy)]
pub struct Ipv4 {
    /// Protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// Offset of the payload from the start of the frame.
    pub payload: usize,
    /// Whether this is the first (or only) fragment: the one that holds the transport header.
    pub first_fragment: bool,
}

/// Reads the header, options included in `payload`'s offset; `None` when it is cut or is not version 4.
#[inline(always)]
pub fn read<P: Packet + ?Sized>(packet: &P) -> Option<Ipv4> {
    let [version_ihl, _tos] = packet.load(HEADER)?;
    let ihl = (version_ihl & 0xf) as usize * 4;
    if version_ihl >> 4 != 4 || ihl < 20 {
        return None;
    }
    let fragment = u16::from_be_bytes(packet.load(HEADER + 6)?);
    let [_ttl, protocol] = packet.load(HEADER + 8)?;
    Some(Ipv4 {
        protocol,
        source: packet.load(HEADER + 12)?,
        destination: packet.load(HEADER + 16)?,
        payload: HEADER + ihl,
        first_fragment: fragment & 0x1fff == 0,
    })
}
