// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which port is to be looked at when something changes in a namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing::warn;

use super::{port::Port, ports::chain};
use crate::{
    core::ids::PortId,
    netlink::{Change, Monitor, MonitorError, NsId, Numbering},
    sys::netns::Netns,
};

/// The ports by their namespaces; empty until it is opened.
#[derive(Debug, Default)]
pub(super) struct Watch {
    numbering: OnceLock<Numbering>,
    ports: Mutex<BTreeMap<NsId, BTreeSet<PortId>>>,
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
            match monitor.next().await? {
                Change::In(nsid) => {
                    let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
                    ports.get(&nsid).into_iter().flatten().for_each(|id| changed(Some(id)));
                }
                Change::Missed => changed(None),
            }
        }
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
