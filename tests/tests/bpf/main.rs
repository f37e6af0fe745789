// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bpf tier: the same vectors through the policy on the host and through the programs in the kernel.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics, for the backtrace")]

mod host;
mod kernel;
mod programs;
mod replay;

use netagent_tests::vectors;
