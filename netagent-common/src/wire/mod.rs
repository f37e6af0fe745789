// SPDX-License-Identifier: MIT OR Apache-2.0
//! Header fields by offset. Every reader returns copies, or `None` when the frame is too short.

pub mod arp;
pub mod eth;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod nd;
pub mod udp;
