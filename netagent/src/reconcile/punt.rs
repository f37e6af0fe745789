// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one task that serves every guest of the node: frames from the ring, answers to the taps.

use std::sync::Arc;

use crate::{
    datapath::{DatapathError, PuntRing},
    dhcp,
};

/// Serves until the ring fails.
///
/// # Errors
/// When the ring cannot be watched any more.
pub async fn serve_punted(mut ring: PuntRing, service: Arc<dhcp::Service>) -> Result<(), DatapathError> {
    loop {
        ring.drain(|punted| service.take(punted)).await?;
    }
}
