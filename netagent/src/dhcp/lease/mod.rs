// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest is told, in the shape that each server wants it.

mod ra;
mod v4;
mod v6;

pub(super) use ra::ra;
pub(super) use v4::v4;
pub(super) use v6::v6;

use crate::core::ids::MacAddr;

/// Ethernet source of all answers: locally administered, so that it is nobody's.
const SERVER_MAC: MacAddr = MacAddr([0x02, 0x6e, 0x61, 0x00, 0x00, 0x01]);
