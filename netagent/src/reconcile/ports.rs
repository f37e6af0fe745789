// SPDX-License-Identifier: MIT OR Apache-2.0
//! All ports of the node: ask for one, take one off, find one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::{
    Parts, PassError, PortStatus, StoreError,
    file_watch::FileWatch,
    pass::{Pass, Session, meet},
    port::{PassFailure, Port, Turn},
    pulse::Pulse,
    watch::Watch,
};
use crate::{
    core::{ids::PortId, origin::Origin, plan::Step, spec::PortSpec},
    netlink::NsId,
    sys::netns::{Netns, NetnsError},
};

/// Passes at one time: each opens a dozen descriptors, and two cores are not made faster by a thousand.
const PASSES: usize = 32;

/// How long the kernel may take to remove the devices of a namespace that nobody holds any more, and how often to look.
const NETNS_TEARDOWN: Duration = Duration::from_secs(5);
const NETNS_TEARDOWN_LOOK: Duration = Duration::from_millis(20);

/// The ports of this node.
#[derive(Clone)]
pub struct Ports {
    pub(super) parts: Parts,
    pub(super) resync: Arc<watch::Sender<Duration>>,
    ports: Arc<Mutex<BTreeMap<PortId, Arc<Port>>>>,
    passes: Arc<Semaphore>,
    pub(super) watch: Arc<Watch>,
    pub(super) files: Arc<FileWatch>,
    pub(super) pulse: Arc<Pulse>,
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
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
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
    /// A defect in netagent.
    #[error("the request panicked; this is a defect in netagent, see its log")]
    Panicked,
}

impl Ports {
    /// No ports yet.
    pub fn new(parts: Parts, resync: Duration) -> Self {
        Self {
            parts,
            resync: Arc::new(watch::Sender::new(resync)),
            ports: Arc::default(),
            passes: Arc::new(Semaphore::new(PASSES)),
            watch: Arc::default(),
            files: Arc::default(),
            pulse: Arc::default(),
        }
    }

    /// What the ports work with.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Wires a port, and returns when it is ready. Asking again changes what can be changed. A new port that cannot be
    /// wired is taken off again, and leaves nothing behind. A caller that goes away does not cut the work short.
    ///
    /// # Errors
    /// Why it is not ready.
    pub async fn attach(&self, spec: PortSpec) -> Result<PortLookup, RequestError> {
        let ports = self.clone();
        whole(async move { ports.attach_whole(spec).await }).await
    }

    async fn attach_whole(&self, mut spec: PortSpec) -> Result<PortLookup, RequestError> {
        let netns = Netns::open_pod(&spec.netns)?;
        let id = spec.id();
        meet(&netns, &mut spec).await.map_err(|source| RequestError::Plan { id: id.clone(), source })?;
        drop(netns);
        loop {
            let (port, turn, new) = self.take_turn(&spec).await;
            let before = port.spec();
            if !new && before.wanted && before.netns_cookie == spec.netns_cookie {
                return self.change(&port, &turn, before, spec).await;
            }
            if !new {
                // On its way out, or a port of an earlier namespace whose number this one has: that one ends first.
                self.unwire(&port, &turn).await?;
                continue;
            }
            return self.wire(&port, &turn, spec).await;
        }
    }

    /// Wires a port that was not there.
    async fn wire(&self, port: &Arc<Port>, turn: &Turn, spec: PortSpec) -> Result<PortLookup, RequestError> {
        let id = spec.id();
        if let Err(e) = self.parts.store.keep(&spec) {
            self.forget(port)?;
            return Err(e.into());
        }
        match self.pass(port, turn).await {
            Ok(Pass::Wired(_)) => {
                self.tend(port);
                Ok(lookup(&id, port))
            }
            Ok(Pass::Gone) => {
                self.forget(port)?;
                Err(RequestError::NetnsGone(id))
            }
            // Nothing was done, so there is nothing to take off. What may be there is not this attach's.
            Err(source @ PassFailure::Untouched(_)) => {
                self.forget(port)?;
                Err(RequestError::Wire { id, source })
            }
            Err(source) => {
                if let Err(error) = self.unwire(port, turn).await {
                    warn!(port = %id, error = chain(error), "could not take off what was wired of a failed port");
                    self.tend(port);
                }
                Err(RequestError::Wire { id, source })
            }
        }
    }

    /// Changes a port that is there; one that cannot be changed stays as it was asked for before.
    async fn change(
        &self,
        port: &Arc<Port>,
        turn: &Turn,
        before: PortSpec,
        mut spec: PortSpec,
    ) -> Result<PortLookup, RequestError> {
        let id = spec.id();
        if spec.origin == Origin::default() {
            // Somebody changed a setting by hand; the port is still that of the source that asked for it.
            spec.origin = before.origin.clone();
        }
        if let Some(differences) = before.conflict_with(&spec) {
            return Err(RequestError::Exists { id, differences });
        }
        self.parts.store.keep(&spec)?;
        port.set_spec(spec);
        match self.pass(port, turn).await {
            Ok(Pass::Wired(_)) => Ok(lookup(&id, port)),
            Ok(Pass::Gone) => {
                self.forget(port)?;
                Err(RequestError::NetnsGone(id))
            }
            Err(source) => {
                port.set_spec(before.clone());
                port.wake();
                self.parts.store.keep(&before)?;
                Err(RequestError::Wire { id, source })
            }
        }
    }

    /// Takes a port off, and returns when nothing of it is left; `false` when there was none.
    ///
    /// # Errors
    /// Why something is left.
    pub async fn detach(&self, id: &PortId) -> Result<bool, RequestError> {
        let (ports, id) = (self.clone(), id.clone());
        whole(async move {
            let Some((port, turn)) = ports.turn_of(&id).await else { return Ok(false) };
            ports.unwire(&port, &turn).await.map(|()| true)
        })
        .await
    }

    async fn unwire(&self, port: &Arc<Port>, turn: &Turn) -> Result<(), RequestError> {
        let mut spec = port.spec();
        let id = spec.id();
        spec.wanted = false;
        // First on disk: a crash from here on must not bring the port back.
        self.parts.store.keep(&spec)?;
        port.set_spec(spec);
        let patience = Instant::now() + NETNS_TEARDOWN;
        loop {
            match self.pass(port, turn).await {
                Ok(_) => return Ok(self.forget(port)?),
                // The kernel takes a namespace down behind the back of whoever removed its last name.
                Err(e) if e.is_out_of_reach() && Instant::now() < patience => {
                    tokio::time::sleep(NETNS_TEARDOWN_LOOK).await;
                }
                Err(source) => {
                    port.wake();
                    return Err(RequestError::Unwire { id, source });
                }
            }
        }
    }

    pub(super) async fn pass(&self, port: &Arc<Port>, turn: &Turn) -> Result<Pass, PassFailure> {
        // Closed never: the semaphore lives as long as this.
        let _permit = self.passes.acquire().await;
        // Before the look: what changes after it is heard of.
        self.watch.add(port).await;
        self.files.add(port.id(), &port.spec()).await;
        let result = port.pass(turn).await;
        self.pulse.follow(&self.parts.datapath, &port.spec(), &port.status());
        result
    }

    /// The port of an ask and the turn to work on it; `true` when it was not there before.
    pub(super) async fn take_turn(&self, spec: &PortSpec) -> (Arc<Port>, Turn, bool) {
        let id = spec.id();
        loop {
            let (port, new) = {
                let mut ports = self.ports();
                match ports.get(&id) {
                    Some(port) => (Arc::clone(port), false),
                    None => {
                        let port = Port::new(self.parts.clone(), spec.clone());
                        ports.insert(id.clone(), Arc::clone(&port));
                        (port, true)
                    }
                }
            };
            let turn = port.turn().await;
            // It may have been forgotten while somebody else had the turn.
            if self.is_current(&port) {
                return (port, turn, new);
            }
        }
    }

    async fn turn_of(&self, id: &PortId) -> Option<(Arc<Port>, Turn)> {
        loop {
            let port = self.ports().get(id).cloned()?;
            let turn = port.turn().await;
            if self.is_current(&port) {
                return Some((port, turn));
            }
        }
    }

    pub(super) fn is_current(&self, port: &Arc<Port>) -> bool {
        self.ports().get(port.id()).is_some_and(|current| Arc::ptr_eq(current, port))
    }

    /// Only with the port's turn, and only when nothing of it is left but what this agent did not make.
    pub(super) fn forget(&self, port: &Arc<Port>) -> Result<(), StoreError> {
        self.ports().remove(port.id());
        self.watch.remove(port);
        self.files.remove(port.id());
        self.pulse.remove(port.id());
        self.release_unwritten_slot(port.id());
        self.parts.store.forget(port.id())
    }

    /// Lets go of a slot that was claimed and not written. One with an entry is freed when the entry is erased: a port
    /// whose ask was lost may still forward by it, and another port must not get it.
    fn release_unwritten_slot(&self, port: &PortId) {
        let Some(slot) = self.parts.slots.of(port) else { return };
        match self.parts.datapath.maps().entry(slot) {
            Ok(None) => self.parts.slots.release(port),
            Ok(Some(_)) => {}
            Err(error) => warn!(%port, slot, error = chain(error), "kept a slot that cannot be read"),
        }
    }

    /// The steps that `attach` would take now.
    ///
    /// # Errors
    /// Why there is no plan.
    pub async fn plan(&self, spec: &PortSpec) -> Result<Vec<Step>, RequestError> {
        let id = spec.id();
        let failed = |source| RequestError::Plan { id: id.clone(), source };
        let mut spec = spec.clone();
        let netns = Netns::open_pod(&spec.netns)?;
        meet(&netns, &mut spec).await.map_err(failed)?;
        // A port that is there knows its routers.
        let routers = self.ports().get(&id).map(|port| port.routers()).unwrap_or_default();
        let look = async { Session::open(&self.parts, &spec).await?.knowing(routers).look().await }.await;
        look.map(|look| look.steps).map_err(failed)
    }

    /// One port.
    pub fn find(&self, id: &PortId) -> Option<PortLookup> {
        self.ports().get(id).map(|port| lookup(id, port))
    }

    /// The ports of a namespace, by the path that was given or by the namespace that is there.
    pub fn in_netns(&self, path: &Path) -> Vec<PortId> {
        let there = Netns::open(path).map(|n| n.id()).ok();
        let matches = |spec: &PortSpec| spec.netns == path || Some(spec.netns_id) == there;
        self.ports().iter().filter(|(_, port)| matches(&port.spec())).map(|(id, _)| id.clone()).collect()
    }

    /// All ports.
    pub fn list(&self) -> Vec<PortLookup> {
        self.ports().iter().map(|(id, port)| lookup(id, port)).collect()
    }

    /// The taps of ports that were ready, by the number of their namespaces.
    pub(super) fn taps(&self) -> Vec<(PortId, NsId, u32)> {
        let tap = |(id, port): (&PortId, &Arc<Port>)| {
            Some((id.clone(), port.nsid()?, port.status().wired?.tap_ifindex))
        };
        self.ports().iter().filter_map(tap).collect()
    }

    pub(super) fn ports(&self) -> MutexGuard<'_, BTreeMap<PortId, Arc<Port>>> {
        // Nothing is left half done while the lock is held.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a request to its end, whether or not somebody still waits for it.
async fn whole<T: Send + 'static>(
    request: impl Future<Output = Result<T, RequestError>> + Send + 'static,
) -> Result<T, RequestError> {
    tokio::spawn(request).await.unwrap_or(Err(RequestError::Panicked))
}

fn lookup(id: &PortId, port: &Port) -> PortLookup {
    PortLookup { id: id.clone(), spec: port.spec(), status: port.status() }
}

pub(super) fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}
