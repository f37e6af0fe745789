// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports, as those see them who find out who wants one.

use super::Ports;
use crate::{
    core::{ids::PortId, spec::PortSpec},
    discovery::{Wiring, WiringError},
};

#[tonic::async_trait]
impl Wiring for Ports {
    async fn attach(&self, ask: PortSpec) -> Result<(), WiringError> {
        Self::attach(self, ask).await.map(drop).map_err(WiringError::new)
    }

    async fn detach(&self, port: &PortId) -> Result<bool, WiringError> {
        Self::detach(self, port).await.map_err(WiringError::new)
    }

    fn asks(&self) -> Vec<PortSpec> {
        self.list().into_iter().map(|port| port.spec).collect()
    }
}
