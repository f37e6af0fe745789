// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frame and port in, verdict out. No maps, no helpers, no clock: the host tests what the kernel runs.

mod from_pod;
mod from_vm;
mod link;
mod needs_skb;
mod own;
mod rewrite;
mod to_vm;

pub use from_pod::from_pod;
pub use from_vm::{from_vm, is_plain as is_plain_from_vm};
pub use needs_skb::needs_skb;
pub use to_vm::{is_plain as is_plain_to_vm, to_vm};

use crate::{
    address::V6,
    counters::DropReason,
    maps::{Port, PuntKind},
    rule::Rule,
    wire::eth::Tag,
};

/// What becomes of a frame.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on, its addresses already rewritten.
    Forward,
    /// The guest asks whether anybody has this link-local address. Goes on, already rewritten, if the port may learn it
    /// ([`Learned::claim`](crate::maps::Learned::claim)); else it is refused as [`DropReason::NdTarget`].
    Claim(V6),
    /// Somebody else has this address, which may be the one that was learned. Goes on to the guest, already rewritten,
    /// after [`Learned::forget`](crate::maps::Learned::forget).
    Forget(V6),
    /// Goes to the agent and nowhere else. Only from the guest.
    Punt(PuntKind),
    /// Goes on, as it came, to the bridge that the guest's tap is in: whoever answered such frames before still does.
    /// Only from the guest, and only where a port is [`BRIDGED`](crate::maps::BRIDGED).
    Bridge,
    /// Refused as [`DropReason::Oversized`], and the agent gets its beginning so that the guest is told the MTU.
    TooBig,
    /// Ends here.
    Drop(DropReason),
}

/// What the frame's bytes do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta {
    /// Length in bytes with the Ethernet header.
    pub len: u32,
    /// The VLAN tag that the kernel has taken out of the frame, if it has.
    pub tag: Tag,
    /// Payload bytes of each segment that the frame is to be cut into; 0 for a frame that goes out as it is.
    pub gso_size: u32,
}

/// The rule's reason, unless the frame keeps to the rule or it is off. The switch is looked at only when the rule is
/// broken.
#[inline(always)]
fn hold(port: &Port, rule: Rule, kept: bool) -> Result<(), DropReason> {
    if kept || !port.holds_to(rule) { Ok(()) } else { Err(rule.reason()) }
}
