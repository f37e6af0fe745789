// SPDX-License-Identifier: MIT OR Apache-2.0
//! All ports of the node: ask for one, take one off, find one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::warn;

use super::{
    Parts, PassError, PortState, PortStatus, StoreError,
    pass::{Pass, Session},
    port::{PassFailure, Port},
};
use crate::core::{ids::PortId, plan::Step, spec::PortSpec};

/// The ports of this node.
#[derive(Clone)]
pub struct Ports {
    parts: Parts,
    resync: Duration,
    ports: Arc<Mutex<BTreeMap<PortId, Arc<Port>>>>,
}

/// A port, its ask and its standing.
#[derive(Clone, Debug)]
pub struct PortLookup {
    /// Its name.
    pub id: PortId,
    /// What was asked for.
    pub spec: PortSpec,
    /// Where it stands.
    pub status: PortStatus,
}

/// A request that cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The port is there, and differs in what cannot be changed.
    #[error("port {id} exists with {differences}; detach it first")]
    Exists {
        /// The port.
        id: PortId,
        /// In what it differs.
        differences: String,
    },
    /// The ask cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wiring failed.
    #[error("wire port {id}")]
    Wire {
        /// The port.
        id: PortId,
        /// Why.
        #[source]
        source: PassFailure,
    },
    /// The plan could not be made.
    #[error("plan port {id}")]
    Plan {
        /// The port.
        id: PortId,
        /// Why.
        #[source]
        source: PassError,
    },
    /// Taking the port off failed; it is tried again until it is done.
    #[error("take port {id} off (it is tried again until it is done)")]
    Unwire {
        /// The port.
        id: PortId,
        /// Why.
        #[source]
        source: PassFailure,
    },
    /// The namespace went while the port was made.
    #[error("the network namespace of port {0} went while it was wired")]
    NetnsGone(PortId),
}

impl Ports {
    /// No ports yet.
    pub fn new(parts: Parts, resync: Duration) -> Self {
        Self { parts, resync, ports: Arc::default() }
    }

    /// What the ports work with.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Wires a port, and returns when it is ready. Asking again changes what can be changed. A new port that cannot be
    /// wired is taken off again, and leaves nothing behind.
    ///
    /// # Errors
    /// Why it is not ready.
    pub async fn attach(&self, spec: PortSpec) -> Result<PortLookup, RequestError> {
        let id = spec.id();
        let (port, before) = self.enter(&spec)?;
        self.parts.store.keep(&spec)?;
        match port.pass().await {
            Ok(Pass::Wired(_)) => Ok(lookup(&id, &port)),
            Ok(Pass::Gone) => {
                self.forget(&id)?;
                Err(RequestError::NetnsGone(id))
            }
            Err(source) => {
                match before {
                    Some(before) => {
                        self.parts.store.keep(&before)?;
                        port.set_spec(before);
                        port.wake();
                    }
                    None => {
                        if let Err(error) = self.remove(&id).await {
                            warn!(port = %id, %error, "could not take off what was wired of a failed port");
                        }
                    }
                }
                Err(RequestError::Wire { id, source })
            }
        }
    }

    /// The port of an ask, made when it is not there; and what was asked for before.
    fn enter(&self, spec: &PortSpec) -> Result<(Arc<Port>, Option<PortSpec>), RequestError> {
        let id = spec.id();
        let mut ports = self.ports();
        if let Some(port) = ports.get(&id) {
            let before = port.spec();
            // One that is on its way out comes back as something new.
            if before.wanted
                && let Some(differences) = before.conflict_with(spec)
            {
                return Err(RequestError::Exists { id, differences });
            }
            port.set_spec(spec.clone());
            return Ok((Arc::clone(port), before.wanted.then_some(before)));
        }
        let port = Port::new(self.parts.clone(), spec.clone(), self.resync);
        ports.insert(id.clone(), Arc::clone(&port));
        self.tend(id, Arc::clone(&port));
        Ok((port, None))
    }

    fn tend(&self, id: PortId, port: Arc<Port>) {
        let ports = self.clone();
        tokio::spawn(async move {
            Arc::clone(&port).tend().await;
            // A namespace that went took its port along; an ask for it makes no sense any more.
            let mut map = ports.ports();
            if map.get(&id).is_some_and(|p| Arc::ptr_eq(p, &port)) {
                map.remove(&id);
                drop(map);
                ports.parts.slots.release(&id);
                if let Err(error) = ports.parts.store.forget(&id) {
                    warn!(port = %id, %error, "could not forget a port that is gone");
                }
            }
        });
    }

    /// Takes a port off, and returns when nothing of it is left; `false` when there was none.
    ///
    /// # Errors
    /// Why something is left.
    pub async fn detach(&self, id: &PortId) -> Result<bool, RequestError> {
        if self.find(id).is_none() {
            return Ok(false);
        }
        self.remove(id).await.map(|()| true)
    }

    async fn remove(&self, id: &PortId) -> Result<(), RequestError> {
        let Some(port) = self.ports().get(id).cloned() else { return Ok(()) };
        let mut spec = port.spec();
        spec.wanted = false;
        // First on disk: a crash from here on must not bring the port back.
        self.parts.store.keep(&spec)?;
        port.set_spec(spec);
        match port.pass().await {
            Ok(_) => self.forget(id),
            Err(source) => {
                port.wake();
                Err(RequestError::Unwire { id: id.clone(), source })
            }
        }
    }

    fn forget(&self, id: &PortId) -> Result<(), RequestError> {
        if let Some(port) = self.ports().remove(id) {
            port.wake();
        }
        self.parts.slots.release(id);
        Ok(self.parts.store.forget(id)?)
    }

    /// The steps that `attach` would take now.
    ///
    /// # Errors
    /// Why there is no plan.
    pub async fn plan(&self, spec: &PortSpec) -> Result<Vec<Step>, RequestError> {
        let id = spec.id();
        let look = async { Session::open(&self.parts, spec).await?.look().await }.await;
        if self.find(&id).is_none() {
            // Looking spoke for a slot.
            self.parts.slots.release(&id);
        }
        look.map(|look| look.steps).map_err(|source| RequestError::Plan { id, source })
    }

    /// Takes up every ask that an earlier agent left; returns how many.
    ///
    /// # Errors
    /// When the asks cannot be listed.
    pub async fn adopt(&self) -> Result<usize, StoreError> {
        let (specs, unreadable) = self.parts.store.load()?;
        for error in unreadable {
            warn!(error = format!("{:#}", anyhow::Error::from(error)), "skipped a port");
        }
        let mut passes = Vec::new();
        for spec in specs {
            match self.enter(&spec) {
                Ok((port, _)) => passes.push(tokio::spawn(async move {
                    // A failure stands in the port's status, and its loop tries again.
                    if port.pass().await.is_err() {
                        port.wake();
                    }
                })),
                Err(error) => warn!(%error, "skipped a port"),
            }
        }
        let adopted = passes.len();
        for pass in passes {
            // It only ends early when the runtime does.
            let _ = pass.await;
        }
        Ok(adopted)
    }

    /// Takes up every ask that an earlier agent left as one that is to go; [`detach`](Self::detach) then takes it off.
    ///
    /// # Errors
    /// When the asks cannot be listed.
    pub fn adopt_unwanted(&self) -> Result<(), StoreError> {
        for mut spec in self.parts.store.load()?.0 {
            spec.wanted = false;
            if let Err(error) = self.enter(&spec) {
                warn!(%error, "skipped a port");
            }
        }
        Ok(())
    }

    /// One port.
    pub fn find(&self, id: &PortId) -> Option<PortLookup> {
        self.ports().get(id).map(|port| lookup(id, port))
    }

    /// The ports of a namespace, by the path that was given or by the namespace that is there.
    pub fn in_netns(&self, path: &Path) -> Vec<PortId> {
        let there = crate::sys::netns::Netns::open(path).map(|n| n.id()).ok();
        self.ports()
            .iter()
            .filter(|(_, port)| {
                let spec = port.spec();
                spec.netns == path || Some(spec.netns_id) == there
            })
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// All ports.
    pub fn list(&self) -> Vec<PortLookup> {
        self.ports()
            .iter()
            .filter(|(_, port)| port.status().state != PortState::Gone)
            .map(|(id, port)| lookup(id, port))
            .collect()
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<PortId, Arc<Port>>> {
        // Nothing is left half done while the lock is held.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lookup(id: &PortId, port: &Port) -> PortLookup {
    PortLookup { id: id.clone(), spec: port.spec(), status: port.status() }
}
