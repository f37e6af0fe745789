// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest is told, in the shape that each server wants it.

mod ra;
mod v4;
mod v6;

pub(super) use ra::{gone_router, ra};
pub(super) use v4::v4;
pub(super) use v6::v6;

use crate::core::ids::MacAddr;

/// Ethernet source of all answers: locally administered, so that it is nobody's.
const SERVER_MAC: MacAddr = MacAddr([0x02, 0x6e, 0x61, 0x00, 0x00, 0x01]);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::core::{desired::tests::facts, guest::Guest, hand_off::HandOff, ids::MacAddr};

    #[test]
    fn where_nothing_is_handed_off_no_server_has_anything_to_say() {
        let told = |off| {
            let hand_off = HandOff { off, ..HandOff::default() };
            let guest = Guest::inherit(MacAddr([2, 0, 0, 0, 0, 1]), &facts(), &hand_off);
            let day = Duration::from_secs(86_400);
            (super::v4(&guest, day).is_some(), super::v6(&guest, day).is_some(), super::ra(&guest, day).len())
        };
        assert_eq!(told(false), (true, true, 1));
        assert_eq!(told(true), (false, false, 0));
    }
}
