// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layouts of the pinned maps.
//!
//! | map | type | key | value | pinned as |
//! |---|---|---|---|---|
//! | `PORTS` | array | slot | [`Port`] | `PORTS-v<ABI>` |
//! | `RULES` | program array | [`FROM_VM_RULES`], [`TO_VM_RULES`] | programs that all ports share | `RULES-v<ABI>` |
//! | `COUNTERS` | per-CPU array | slot | [`PortCounters`](crate::counters::PortCounters) | `COUNTERS` |
//! | `BUCKETS` | array | slot | [`Bucket`] | `BUCKETS` |
//! | `LEARNED` | array | slot | [`Learned`] | `LEARNED` |
//! | `PUNT` | ring buffer | – | [`Punted`] records | `PUNT` |
//!
//! Two versions of netagent follow each other under the same ports, forwards and backwards. The rules that make this
//! lose nothing:
//!
//! * Another layout or meaning of [`Port`], and other places of `RULES`, need a new [`ABI_VERSION`](crate::ABI_VERSION), and with it another pin.
//!   Its [head](HEAD) never changes: by it each version finds the slots of every other one.
//! * `COUNTERS`, `BUCKETS`, `LEARNED` and `PUNT` are the same maps for all versions: counts go on, and frames that an
//!   older program punts reach a newer agent. A place in them never changes its meaning. What must, gets a map of
//!   another name, and the agent that brings it carries the values over.
//! * A slot belongs to one port in all versions' maps, or to none.

mod bucket;
mod learned;
mod port;
mod punted;

pub use bucket::Bucket;
pub use learned::Learned;
pub use port::{
    ACTIVE, BRIDGED, ETHERTYPES, Full, HEAD, IPV4_PREFIXES, IPV6_PREFIXES, MAX_ETHERTYPES, MAX_IPV4,
    MAX_IPV6, MAX_NEIGHBOURS, MAX_PREFIXES, MAX_VLANS, OWNS_CLSACT, PEER, PEER_SCRUBS, Port, SELF_TEST,
    SELF_TEST_SHIFT, UNSERVED, VLANS,
};
pub use punted::{PUNT_FRAME, PuntKind, Punted, TAGGED, TOO_BIG_FRAME};

/// How many ports a node can have: the size of every map that is indexed by slot.
pub const MAX_PORTS: u32 = 1024;

/// Index of the program that knows the rules for what guests send, among the programs that all ports share.
pub const FROM_VM_RULES: u32 = 0;
/// Index of the one that knows the rules for what is sent to guests.
pub const TO_VM_RULES: u32 = 1;
/// How many programs all ports share.
pub const SHARED_PROGRAMS: u32 = 2;
