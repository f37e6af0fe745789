// SPDX-License-Identifier: MIT OR Apache-2.0
//! The vm tier: a real guest kernel in QEMU leases the pod's address and moves traffic through the programs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, for the backtrace")]

mod guest;
mod ipv6;
mod offloads;
mod rig;
