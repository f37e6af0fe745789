// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes every port off, without an agent: the explicit undo.

use tracing::warn;

use super::{Parts, PassError, StoreError, pass::Session};
use crate::{
    core::{ids::PortId, program::Program},
    datapath::{DatapathError, LinkPin},
};

/// What a clean-up came to.
#[derive(Debug, Default)]
pub struct CleanedUp {
    /// Ports of which nothing is left.
    pub gone: Vec<PortId>,
    /// Ports of which something is left, and why.
    pub left: Vec<(PortId, LeftBehind)>,
}

/// Why something is left of a port.
#[derive(Debug, thiserror::Error)]
pub enum LeftBehind {
    /// A pass over it failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Its namespace cannot be found without its ask, and off a living tap nothing is taken: the guest could send past
    /// the programs.
    #[error(
        "it forwards, and what was asked for is lost; start the agent, attach it again, and then detach it or clean up"
    )]
    AskLost,
}

/// A clean-up that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CleanUpError {
    /// The asks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pins.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// Takes off every port that was asked for. Goes on after a failure.
///
/// # Errors
/// When the asks cannot be read or changed, or the pins not read.
pub async fn take_all_off(parts: &Parts) -> Result<CleanedUp, CleanUpError> {
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
            Err(error) => result.left.push((spec.id(), error.into())),
        }
    }
    for port in parts.datapath.pins().pinned_ports()? {
        if !result.left.iter().any(|(left, _)| *left == port) && lives(parts, &port)? {
            result.left.push((port, LeftBehind::AskLost));
        }
    }
    parts.store.prune();
    Ok(result)
}

/// Whether a pinned program of the port is on a device.
fn lives(parts: &Parts, port: &PortId) -> Result<bool, DatapathError> {
    for program in Program::ALL {
        if let LinkPin::Attached { .. } = parts.datapath.link_pin(port, program)? {
            return Ok(true);
        }
    }
    Ok(false)
}
