// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layouts of the pinned maps. Any change here needs a new [`ABI_VERSION`](crate::ABI_VERSION).
//!
//! | map | type | key | value |
//! |---|---|---|---|
//! | `PORTS` | array | slot | [`Port`] |
//! | `COUNTERS` | per-CPU array | slot | [`PortCounters`](crate::counters::PortCounters) |
//! | `BUCKETS` | array | slot | [`Bucket`] |
//! | `LEARNED` | array | slot | [`Learned`] |
//! | `PUNT` | ring buffer | – | [`Punted`] records |

mod bucket;
mod learned;
mod port;
mod punted;

pub use bucket::Bucket;
pub use learned::Learned;
pub use port::{
    ACTIVE, ETHERTYPES, Full, IPV4_PREFIXES, IPV6_PREFIXES, MAX_ETHERTYPES, MAX_IPV4, MAX_IPV6,
    MAX_NEIGHBOURS, MAX_PREFIXES, MAX_VLANS, OWNS_CLSACT, PEER, PEER_SCRUBS, Port, VLANS,
};
pub use punted::{PUNT_FRAME, PuntKind, Punted, TAGGED, TOO_BIG_FRAME};

/// How many ports a node can have: the size of every map that is indexed by slot.
pub const MAX_PORTS: u32 = 1024;
