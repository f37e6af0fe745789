// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another reading of the configuration, at SIGHUP: what a running agent can take up it takes up, what waits for its next
//! start is named, and what is wrong changes nothing.

use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use crate::{
    config::{Applies, Config, Layers},
    reconcile::Ports,
    telemetry::log::Log,
};

/// How the configuration came about, and what can be told of another one.
pub struct Reload {
    /// Where it is read.
    pub layers: Layers,
    /// What may be told to let other lines through.
    pub log: Log,
}

impl Reload {
    /// Reads again whenever it is told to. Ends never.
    pub(super) async fn follow(self, mut hangup: Signal, mut running: Config, ports: Ports) {
        while hangup.recv().await.is_some() {
            self.once(&mut running, &ports);
        }
        std::future::pending().await
    }

    fn once(&self, running: &mut Config, ports: &Ports) {
        let new = match self.layers.load() {
            Ok(new) => new,
            Err(refused) => {
                for complaint in refused.complaints() {
                    error!(%complaint, "configuration refused; the agent goes on with the one that it has");
                }
                return;
            }
        };
        let changes = running.take_up(&new);
        for change in &changes {
            let (key, before, after) = (&change.key, &change.before, &change.after);
            match change.applies {
                Applies::Live => info!(key, before, after, "configuration taken up"),
                Applies::AtStart => {
                    warn!(key, before, after, "configuration takes effect when the agent starts again");
                }
            }
        }
        if changes.is_empty() {
            info!("configuration read again; nothing in it has changed");
        }
        self.log.set_filter(running.agent.log.filter());
        ports.set_resync(running.agent.resync());
        ports.parts().dhcp.set_lease_time(running.agent.lease_time());
    }
}
