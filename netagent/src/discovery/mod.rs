// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who wants a port, besides those who call the API. What they want is data; wiring it is somebody else's, behind
//! [`Wiring`].

pub mod kubevirt;
mod wiring;

pub use wiring::{Wiring, WiringError};
