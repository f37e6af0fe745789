// SPDX-License-Identifier: MIT OR Apache-2.0
//! A container runtime's list of pods, over the Container Runtime Interface: containerd's or CRI-O's socket.
//!
//! Level-triggered: what counts is the list. Events only say when to read it again. A runtime that is gone, or stuck,
//! ends no port: nothing is taken back before the next whole list.

mod client;
mod pace;
#[cfg(test)]
mod tests;
mod verbose;

/// The messages of proto/cri.proto, which documents them.
#[expect(unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated from proto/cri.proto")]
pub(super) mod v1 {
    tonic::include_proto!("runtime.v1");
}

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    path::PathBuf,
    time::Duration,
};

use tokio::sync::mpsc;
use tracing::{info, warn};

pub use self::client::CriError;
use self::{client::Client, pace::Pace};
use super::{Pods, Sandbox, Whereabouts, patience};
use crate::core::{annotations, origin::Pod};

/// How long after an event the list is read: a sandbox comes with several.
const SETTLE: Duration = Duration::from_millis(20);

/// Which runtime is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Its CRI socket.
    pub socket: PathBuf,
    /// Whether its events are listened to.
    pub events: bool,
}

/// Reads the list for ever.
pub async fn watch(runtime: Runtime, pods: Pods) -> Infallible {
    let mut failures = 0;
    let mut last = String::new();
    loop {
        let Err(error) = read(&runtime, &pods, &mut failures).await;
        // What is wanted is not known any more, so what is there stays.
        pods.doubt();
        failures += 1;
        let error = format!("{:#}", anyhow::Error::from(error));
        let wait = patience::after(failures);
        // A runtime that is down for an hour is told of once.
        if error != last {
            warn!(
                error,
                retry_seconds = wait.as_secs_f32(),
                "cannot read the container runtime's pods; ports stay as they are"
            );
        }
        last = error;
        tokio::time::sleep(wait).await;
    }
}

/// Reads the list on one connection until that fails.
async fn read(runtime: &Runtime, pods: &Pods, failures: &mut u32) -> Result<Infallible, CriError> {
    let mut client = Client::connect(&runtime.socket).await?;
    info!(runtime = client.runtime, socket = %runtime.socket.display(), "reads the container runtime's pods");
    let mut events = runtime.events.then(|| client.events());
    let (mut pace, mut found, mut before) = (Pace::default(), Found::default(), None);
    loop {
        let listed = client.ready_sandboxes().await?;
        let ids: BTreeSet<_> = listed.iter().map(|sandbox| sandbox.id.clone()).collect();
        pods.complete(found.sandboxes(&mut client, listed).await?);
        *failures = 0;
        pace.listed(before.replace(ids.clone()) != Some(ids));
        tokio::select! {
            event = next(&mut events) => match event {
                Some(()) => {
                    pace.event();
                    tokio::time::sleep(SETTLE).await;
                }
                None => {
                    pace.no_events();
                    events = None;
                }
            },
            () = tokio::time::sleep(patience::jittered(pace.wait())) => {}
        }
    }
}

/// The next event; `None` when there are no more. Never, where there are none at all.
async fn next(events: &mut Option<mpsc::Receiver<()>>) -> Option<()> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Where the networks of sandboxes are. A sandbox's never changes, and asking costs the runtime something.
#[derive(Debug, Default)]
struct Found(BTreeMap<String, Whereabouts>);

impl Found {
    /// The listed sandboxes that are our business, each with where its network is.
    async fn sandboxes(
        &mut self,
        client: &mut Client,
        listed: Vec<v1::PodSandbox>,
    ) -> Result<Vec<Sandbox>, CriError> {
        let ids: BTreeSet<_> = listed.iter().map(|sandbox| sandbox.id.as_str()).collect();
        self.0.retain(|id, _| ids.contains(id.as_str()));
        let mut sandboxes = Vec::new();
        for v1::PodSandbox { id, metadata, annotations, .. } in listed {
            if !annotations::has_ours(&annotations) {
                continue;
            }
            let whereabouts = match self.0.get(&id) {
                Some(known) => known.clone(),
                None => {
                    let Some(status) = client.status(&id).await? else { continue };
                    let whereabouts = verbose::whereabouts(&status).unwrap_or_else(|error| {
                        warn!(sandbox = id, %error, "cannot read what the container runtime tells of a pod");
                        Whereabouts::Unknown
                    });
                    // A sandbox that is just being made may tell more the next time.
                    if whereabouts != Whereabouts::Unknown {
                        self.0.insert(id.clone(), whereabouts.clone());
                    }
                    whereabouts
                }
            };
            let v1::PodSandboxMetadata { name, uid, namespace } = metadata.unwrap_or_default();
            sandboxes.push(Sandbox { id, pod: Pod { uid, namespace, name }, annotations, whereabouts });
        }
        Ok(sandboxes)
    }
}
