// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of every kernel beside the other tiers: what it has, what netagent takes of it, and a real guest.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, for the backtrace")]

mod choice;
mod guest;
mod load;
