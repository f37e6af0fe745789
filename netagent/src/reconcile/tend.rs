// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looking after ports: from the asks that an earlier agent left, until they are forgotten.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::warn;

use super::{
    Pass, StoreError,
    pace::{pace, spread},
    port::{Due, Port, backoff, dice, jittered},
    ports::{Ports, chain},
};
use crate::core::ids::PortId;

/// Ports a second that are compared with what they should be because time has passed. Events call for the others, and a
/// comparison takes some milliseconds of a CPU.
const RESYNCS_A_SECOND: u32 = 1;

impl Ports {
    /// Compares a port with what it should be this often from now on, when nothing else calls for it.
    pub fn set_resync(&self, resync: Duration) {
        self.resync.send_replace(resync);
    }

    /// Hears when that changes.
    pub(super) fn resync_changes(&self) -> watch::Receiver<Duration> {
        self.resync.subscribe()
    }

    /// When a port that is as desired is compared again. With many ports later than was asked for, unless its changes
    /// are not heard of.
    pub(super) fn next_look(&self, port: &Port) -> Instant {
        let shortest = *self.resync.borrow();
        let heard = self.watch.hears_of(port);
        let count = self.ports().len();
        let turn = if heard { pace(shortest, count, RESYNCS_A_SECOND) } else { shortest };
        port.next_look(spread(shortest, turn, dice()))
    }

    /// Takes up every ask that an earlier agent left; returns their ports, those included whose ask cannot be read.
    ///
    /// # Errors
    /// When the asks cannot be listed.
    pub async fn adopt(&self) -> Result<BTreeSet<PortId>, StoreError> {
        let (specs, unreadable) = self.parts.store.load()?;
        let mut known = BTreeSet::new();
        for error in unreadable {
            if let StoreError::Unreadable { port: Some(port), .. } = &error {
                known.insert(port.clone());
            }
            warn!(error = chain(error), "skipped a port");
        }
        let mut passes = Vec::new();
        for spec in specs {
            known.insert(spec.id());
            let ports = self.clone();
            passes.push(tokio::spawn(async move {
                let (port, turn, _) = ports.take_turn(&spec).await;
                match ports.pass(&port, &turn).await {
                    Ok(Pass::Wired(_)) => ports.tend(&port),
                    Ok(Pass::Gone) => {
                        if let Err(error) = ports.forget(&port) {
                            warn!(port = %port.id(), error = chain(error), "could not forget a port that is gone");
                        }
                    }
                    // The failure stands in the port's status; its loop tries again.
                    Err(_) => {
                        ports.tend(&port);
                        port.wake();
                    }
                }
            }));
        }
        for pass in passes {
            // It only ends early when the runtime does.
            let _ = pass.await;
        }
        Ok(known)
    }

    /// Looks after a port until it is forgotten.
    pub(super) fn tend(&self, port: &Arc<Port>) {
        let (ports, port) = (self.clone(), Arc::clone(port));
        tokio::spawn(async move {
            let mut next = ports.next_look(&port);
            let mut failures = 0;
            let mut resync = ports.resync_changes();
            loop {
                if port.due(next, failures, &mut resync).await == Due::OtherResync {
                    if failures == 0 {
                        next = ports.next_look(&port);
                    }
                    continue;
                }
                let turn = port.turn().await;
                if !ports.is_current(&port) {
                    return;
                }
                match ports.pass(&port, &turn).await {
                    Ok(Pass::Wired(_)) => {
                        failures = 0;
                        next = ports.next_look(&port);
                    }
                    // The namespace went and took the port along; an ask for it makes no sense any more.
                    Ok(Pass::Gone) => {
                        if let Err(error) = ports.forget(&port) {
                            warn!(port = %port.id(), error = chain(error), "could not forget a port that is gone");
                        }
                        return;
                    }
                    Err(_) => {
                        next = Instant::now() + jittered(backoff(failures));
                        failures = failures.saturating_add(1);
                    }
                }
            }
        });
    }
}
