// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a source needs of those who wire ports.

use std::{error::Error, sync::Arc};

use crate::core::{ids::PortId, origin::Source, spec::PortSpec};

/// Wires ports and takes them off.
#[tonic::async_trait]
pub trait Wiring: Send + Sync + 'static {
    /// Wires a port, and returns when it is ready. Asking again for the same changes nothing.
    async fn attach(&self, ask: PortSpec) -> Result<(), WiringError>;

    /// Takes a port off, and returns when nothing of it is left; `false` when there was none.
    async fn detach(&self, port: &PortId) -> Result<bool, WiringError>;

    /// What is wired, or wanted so.
    fn asks(&self) -> Vec<PortSpec>;

    /// Takes off what `source` asked for in a pod, by the pod's UID. Goes on after an error, and returns the first.
    async fn detach_pod(&self, source: Source, uid: &str) -> Result<(), WiringError> {
        let mut first = Ok(());
        for ask in self.asks() {
            if ask.origin.source == source && ask.origin.pod.uid == uid {
                first = first.and(self.detach(&ask.id()).await.map(drop));
            }
        }
        first
    }
}

/// Why a port could not be wired, or not taken off, in the words of those who tried.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct WiringError(#[from] Arc<dyn Error + Send + Sync>);

impl WiringError {
    /// An error of whoever wires.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}
