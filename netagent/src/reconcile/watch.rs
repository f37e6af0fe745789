// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which port is to be looked at when something changes in a namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::warn;

use super::{
    port::Port,
    ports::{Ports, chain},
};
use crate::{
    core::ids::PortId,
    netlink::{Change, Monitor, MonitorError, NsId, Numbering},
    sys::netns::Netns,
};

impl Ports {
    /// Hears of changes in the ports' namespaces from now on, and looks at a port as soon as there is one. Without it
    /// they are noticed at the next look.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch(
        &self,
    ) -> Result<impl Future<Output = Result<Infallible, MonitorError>> + use<>, MonitorError> {
        let monitor = self.watch.open()?;
        let ports = self.clone();
        Ok(async move { ports.watch.listen(monitor, |id| ports.stir(id)).await })
    }

    /// `None` stands for all.
    pub(super) fn stir(&self, id: Option<&PortId>) {
        let ports = self.ports();
        match id {
            Some(id) => ports.get(id).into_iter().for_each(|port| port.stir()),
            None => ports.values().for_each(|port| port.stir()),
        }
    }

    pub(super) fn wake(&self, id: &PortId) {
        self.ports().get(id).into_iter().for_each(|port| port.wake());
    }
}

/// The ports by their namespaces; empty until it is opened.
#[derive(Debug, Default)]
pub(super) struct Watch {
    numbering: OnceLock<Numbering>,
    ports: Mutex<BTreeMap<NsId, BTreeSet<PortId>>>,
    /// What it listened with has failed.
    deaf: AtomicBool,
}

impl Watch {
    /// Starts to listen, for the ports that are added from now on.
    pub(super) fn open(&self) -> Result<Monitor, MonitorError> {
        let monitor = Monitor::open()?;
        let numbering = Numbering::open()?;
        // A second one would do as well; only the first is used.
        let _ = self.numbering.set(numbering);
        Ok(monitor)
    }

    /// Hands on what is heard: the ports to look at, or `None` when it may be any.
    pub(super) async fn listen(
        &self,
        mut monitor: Monitor,
        changed: impl Fn(Option<&PortId>),
    ) -> Result<Infallible, MonitorError> {
        loop {
            let change = monitor.next().await.inspect_err(|_| self.deaf.store(true, Ordering::Relaxed))?;
            match change {
                Change::In(nsid) => {
                    let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
                    ports.get(&nsid).into_iter().flatten().for_each(|id| changed(Some(id)));
                }
                Change::Missed => changed(None),
            }
        }
    }

    /// Whether changes in a port's namespace are heard of.
    pub(super) fn hears_of(&self, port: &Port) -> bool {
        port.nsid().is_some() && !self.deaf.load(Ordering::Relaxed)
    }

    /// The socket that asks about other namespaces; `None` until it is opened.
    pub(super) fn numbering(&self) -> Option<&Numbering> {
        self.numbering.get()
    }

    /// Adds a port, once. One that cannot be added is looked at now and then all the same.
    pub(super) async fn add(&self, port: &Arc<Port>) {
        let Some(numbering) = self.numbering.get() else { return };
        if port.nsid().is_some() {
            return;
        }
        let spec = port.spec();
        // The pass says what is wrong with a namespace.
        let Ok(netns) = Netns::open(&spec.netns) else { return };
        if netns.id() != spec.netns_id {
            return;
        }
        match numbering.number(&netns).await {
            Ok(nsid) => {
                port.set_nsid(nsid);
                let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
                ports.entry(nsid).or_default().insert(port.id().clone());
            }
            Err(error) => {
                warn!(port = %port.id(), error = chain(error), "changes in its namespace are noticed late");
            }
        }
    }

    /// Forgets a port.
    pub(super) fn remove(&self, port: &Port) {
        let Some(nsid) = port.nsid() else { return };
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = ports.get_mut(&nsid) {
            there.remove(port.id());
            if there.is_empty() {
                ports.remove(&nsid);
            }
        }
    }
}
