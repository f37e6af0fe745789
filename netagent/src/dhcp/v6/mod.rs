// SPDX-License-Identifier: MIT OR Apache-2.0
//! The DHCPv6 hand-off to one guest, sans-IO: the guest's Ethernet frame in, the reply's Ethernet frame out.
//!
//! [`answer`] is a pure function of a [`Lease`] and a frame, as it is for DHCPv4. A guest's binding is the pod's
//! addresses, so there is none to keep: a restarted agent, and the next node's, answers as the old one did.
//!
//! The codec is our own and small. `dhcproto` 0.15 is only the independent decoder of the tests: it descends into nested
//! options without bound, until the stack overflows, and panics at a status code option that is too short.

mod frame;
mod lease;
mod message;
mod options;
mod outcome;
mod reply;
mod server;
#[cfg(test)]
mod tests;

pub use lease::Lease;
pub use outcome::{Event, MessageType, Outcome, Reply, Silence, Status};
pub use server::answer;
