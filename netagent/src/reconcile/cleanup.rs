// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes every port off, without an agent: the explicit undo.

use tracing::warn;

use super::{Parts, PassError, StoreError, pass::Session};
use crate::core::ids::PortId;

/// What a clean-up came to.
#[derive(Debug, Default)]
pub struct CleanedUp {
    /// Ports of which nothing is left.
    pub gone: Vec<PortId>,
    /// Ports of which something is left, and why.
    pub left: Vec<(PortId, PassError)>,
}

/// Takes off every port that was asked for. Goes on after a failure.
///
/// # Errors
/// When the asks cannot be read or changed.
pub async fn take_all_off(parts: &Parts) -> Result<CleanedUp, StoreError> {
    let (specs, unreadable) = parts.store.load()?;
    for error in unreadable {
        warn!(error = format!("{:#}", anyhow::Error::from(error)), "skipped a port");
    }
    let mut result = CleanedUp::default();
    for mut spec in specs {
        spec.wanted = false;
        parts.store.keep(&spec)?;
        let settled = async { Session::open(parts, &spec).await?.settle().await }.await;
        match settled {
            Ok(_) => {
                parts.store.forget(&spec.id())?;
                result.gone.push(spec.id());
            }
            Err(error) => result.left.push((spec.id(), error)),
        }
    }
    parts.store.prune();
    Ok(result)
}
