// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour discovery (RFC 4861): the target of a message and the link-layer address among its options.

use crate::{
    address::{Mac, V6},
    packet::{Header as _, Packet},
};

/// Option: the sender's link-layer address.
pub const SOURCE_LINK_ADDRESS: u8 = 1;
/// Option: the target's link-layer address.
pub const TARGET_LINK_ADDRESS: u8 = 2;
/// Length of a neighbour solicitation or advertisement without options.
pub const NEIGHBOUR: usize = 24;
/// Offset of the address in a link-layer address option.
pub const OPTION_MAC: usize = 2;

/// Messages with more options than this are refused.
const MAX_OPTIONS: usize = 8;

/// A link-layer address option, or none: not an `Option`, because the verifier refuses to copy the fields that a `None`
/// leaves unwritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkAddress {
    /// [`SOURCE_LINK_ADDRESS`] or [`TARGET_LINK_ADDRESS`]; 0: there is no such option.
    pub kind: u8,
    /// Its length in units of 8 bytes.
    pub units: u8,
    /// The address.
    pub mac: Mac,
    /// Offset of the option from the start of the frame.
    pub at: usize,
}

impl LinkAddress {
    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.kind == 0
    }

    /// Whether its length is that of an Ethernet address.
    #[inline(always)]
    pub const fn is_ethernet(&self) -> bool {
        self.units == 1
    }
}

/// The target of the neighbour solicitation or advertisement at `at`.
#[inline(always)]
pub fn target<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<V6> {
    Some(packet.header::<NEIGHBOUR>(at)?.v6::<8, 16>())
}

/// Finds the link-layer address among the options from `at` to `end`. `None` when an option has no length or leaves
/// the message, when there are too many, or more than one with a link-layer address.
#[inline(always)]
pub fn link_address<P: Packet + ?Sized>(packet: &P, mut at: usize, end: usize) -> Option<LinkAddress> {
    let mut found = LinkAddress::default();
    for _ in 0..MAX_OPTIONS {
        if at >= end {
            break;
        }
        let option = packet.header::<8>(at)?;
        let (kind, units) = (option.u8::<0>(), option.u8::<1>());
        if units == 0 {
            return None;
        }
        if kind == SOURCE_LINK_ADDRESS || kind == TARGET_LINK_ADDRESS {
            if !found.is_none() {
                return None;
            }
            let kind = packet.settle(kind as usize)? as u8;
            found = LinkAddress { kind, units, mac: Mac::last_of(option.u64::<0>()), at };
        }
        at = packet.settle(at + units as usize * 8)?;
    }
    (at == end).then_some(found)
}
