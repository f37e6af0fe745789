// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the eBPF programs and the agent share: the only code that is compiled into both worlds.
//!
//! * [`packet`]: how a program or a test lends its frame to the code below.
//! * [`wire`]: header fields, read by value, never by reference.
//! * [`policy`]: frame and port in, verdict out. Pure, so the host tests what the kernel runs.
//! * [`maps`]: the layouts of the pinned maps. Their rules let versions follow each other.
//! * [`counters`]: what is counted and under which name.
//! * [`rule`]: what frames are held to, by name.
//! * [`address`]: MAC, IPv4 and IPv6 addresses as words.
#![no_std]

pub mod address;
pub mod counters;
pub mod maps;
pub mod packet;
pub mod policy;
pub mod rule;
pub mod wire;

/// Version of the layout of [`maps::Port`]; part of that map's pin, so that two versions never share it. The rules are
/// in [`maps`].
pub const ABI_VERSION: u32 = 3 + cfg!(feature = "next-abi") as u32;
