// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-off: what the pod's network tells its one guest.
//!
//! The servers are functions of a lease and a frame; [`Service`] knows who is served and sends the answers.
//!
//! Guests decide what is read here, so nothing here may panic, as far as lints can tell.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod lease;
mod names;
mod path_mtu;
pub mod ra;
mod service;
pub mod v4;
pub mod v6;

pub use names::{NameDefect, NameUse, UnusableName};
pub use service::{Dialogue, Inbox, Outlet, Punt, Served, Service, Tap, message_and_outcome};
