// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that the programs hand to the agent.

use bytemuck::{Pod, Zeroable};

/// Longest frame that is punted, in bytes: DHCP needs less. All ones, because the program bounds a length by it as a
/// mask.
pub const PUNT_FRAME: usize = 0x7ff;

/// Bytes of a frame of [`PuntKind::TooBig`] that are punted at most: an ICMPv6 error quotes what fits into 1280 bytes
/// (RFC 4443, section 2.4), one of IPv4 less.
pub const TOO_BIG_FRAME: u32 = 1280;

/// What a punted frame is; the agent's servers are chosen by it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PuntKind {
    /// A DHCPv4 client's message.
    Dhcpv4 = 1,
    /// A DHCPv6 client's message.
    Dhcpv6 = 2,
    /// A router solicitation.
    RouterSolicitation = 3,
    /// The beginning of an IPv4 or IPv6 frame that was refused as longer than the MTU: the guest is to be told.
    TooBig = 4,
}

impl PuntKind {
    /// The kind that a record claims.
    pub const fn from_u32(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Dhcpv4),
            2 => Some(Self::Dhcpv6),
            3 => Some(Self::RouterSolicitation),
            4 => Some(Self::TooBig),
            _ => None,
        }
    }
}

/// [`Punted::tag`]: there is a tag beside the frame.
pub const TAGGED: u32 = 1 << 16;

/// One record of the punt ring.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Punted {
    /// The port that the frame came from.
    pub slot: u32,
    /// [`PuntKind`] as a number.
    pub kind: u32,
    /// Bytes of `frame` that are the frame.
    pub len: u32,
    /// Bytes that the whole frame has; for a frame to be segmented, before that.
    pub frame_len: u32,
    /// The VLAN tag (TCI) that the kernel keeps beside the frame, with [`TAGGED`]; 0 where there is none.
    pub tag: u32,
    /// The frame from its Ethernet header on; bytes behind `len` mean nothing.
    pub frame: [u8; PUNT_FRAME + 1],
}

const _: () = assert!(size_of::<Punted>() == 2068 && align_of::<Punted>() <= 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punt_kinds_round_trip() {
        for kind in [PuntKind::Dhcpv4, PuntKind::Dhcpv6, PuntKind::RouterSolicitation, PuntKind::TooBig] {
            assert_eq!(PuntKind::from_u32(kind as u32), Some(kind));
        }
        assert_eq!((PuntKind::from_u32(0), PuntKind::from_u32(5)), (None, None));
    }
}
