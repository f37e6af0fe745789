// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's MAC and the pod link's, one in place of the other, wherever a frame names them.
//!
//! A neighbour discovery message keeps its checksum by an incremental update, which is right for a checksum that is
//! complete. No guest kernel leaves that of neighbour discovery to the device (CHECKSUM_PARTIAL): it is made with the
//! message. If one did, the message would leave with a wrong checksum and its receiver would discard it.

use crate::{
    address::Mac,
    packet::{Header as _, PacketMut},
    wire::{icmpv6, nd},
};

/// Where the payload names a MAC, as offsets from the start of the frame; 0: nowhere, because a MAC there would be the
/// Ethernet header's.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    /// A MAC that no checksum covers.
    pub(super) plain: usize,
    /// A link-layer address option of neighbour discovery.
    pub(super) option: usize,
    /// The ICMPv6 message of `option`.
    pub(super) message: usize,
}

/// Writes `to` at each of the places, all of which hold `from`. `None` when the frame ends before one of them, which
/// was read before.
#[inline(always)]
pub(super) fn replace<P: PacketMut + ?Sized>(
    packet: &mut P,
    places: Places,
    from: Mac,
    to: Mac,
) -> Option<()> {
    if places.plain != 0 {
        packet.put_mac(places.plain, to)?;
    }
    if places.option != 0 {
        let checksum = packet.header::<4>(places.message)?.u16::<{ icmpv6::CHECKSUM }>();
        packet.put_mac(places.option + nd::OPTION_MAC, to)?;
        packet.put_u16(places.message + icmpv6::CHECKSUM, icmpv6::replace_mac(checksum, from, to))?;
    }
    Some(())
}
