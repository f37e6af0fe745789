// SPDX-License-Identifier: MIT OR Apache-2.0
//! The DHCPv4 hand-off to one guest, sans-IO: the guest's Ethernet frame in, the reply's Ethernet frame out.
//!
//! [`answer`] is a pure function of a [`Lease`] and a frame. There is no lease database and no clock: what a guest
//! gets follows from the pod's address alone, so a restarted agent answers as the old one did.
//!
//! The codec is our own and small. `dhcproto` 0.15 is only the independent decoder of the tests: it keeps options
//! sorted by code, so it cannot write them in the order the client asked for (RFC 2131, 4.3.1); it stops in silence
//! at the first option it cannot decode, which may hide the message type; and its accessors panic on a hostile
//! `hlen`.

mod frame;
mod lease;
mod message;
mod names;
mod options;
mod outcome;
mod reply;
mod routes;
mod server;
#[cfg(test)]
mod tests;

pub use lease::{Lease, Route};
pub use outcome::{Event, MessageType, Outcome, Reply, Silence};
pub use server::answer;
