// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frame and port in, verdict out. No maps, no helpers, no clock: the host tests what the kernel runs.

mod from_pod;
mod from_vm;
mod to_vm;

pub use from_pod::from_pod;
pub use from_vm::from_vm;
pub use to_vm::to_vm;

use crate::{counters::DropReason, maps::PuntKind};

/// What becomes of a frame.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on, its addresses already rewritten.
    Forward,
    /// Goes to the agent and nowhere else. Only from the guest.
    Punt(PuntKind),
    /// Ends here.
    Drop(DropReason),
}

/// What the frame's bytes do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta {
    /// Length in bytes with the Ethernet header.
    pub len: u32,
    /// The kernel has taken a VLAN tag out of the frame.
    pub vlan: bool,
    /// Payload bytes of each segment that the frame is to be cut into; 0 for a frame that goes out as it is.
    pub gso_size: u32,
}
