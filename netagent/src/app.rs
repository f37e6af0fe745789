// SPDX-License-Identifier: MIT OR Apache-2.0
//! The composition root: check everything, build the parts, run them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    api::{self, Socket, v1},
    config::{Config, CriSection, NriSection},
    core::{annotations::Permitted, ids::PortId, origin::Source},
    datapath::{Datapath, DatapathError, Feature, Pins},
    dhcp,
    discovery::{self, Pods},
    reconcile::{self, CleanedUp, Parts, PortLookup, Ports, Slots, SpecStore},
    sys::{bpffs, privileges},
    telemetry::{self, PortSample},
};

/// How one agent is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its configuration, checked.
    pub config: Config,
    /// Features that it takes this kernel to lack.
    pub lacking: Vec<Feature>,
    /// Namespaces to attach with default settings once it runs.
    pub attach: Vec<PathBuf>,
}

/// Runs the agent until it is told to stop. Stopping leaves the ports as they are: forwarding.
///
/// # Errors
/// When the agent cannot start, or what it needs to go on fails.
pub async fn run(options: Options) -> Result<()> {
    privileges::check()?;
    // The socket first: a second agent is refused before it touches anything.
    let socket = Socket::bind(&options.config.socket)?;
    let metrics = match options.config.metrics {
        Some(address) => Some(telemetry::listen(address).await?),
        None => None,
    };
    let parts = parts(&options.config, &options.lacking)?;
    let ring = parts.datapath.punt_ring()?;
    let ports = Ports::new(parts.clone(), options.config.resync());
    let features = parts.datapath.features();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %options.config.socket.display(),
        hook = %features.hook(),
        redirect_peer = features.redirect_peer,
        "agent starts"
    );

    let mut punted = tokio::spawn(reconcile::serve_punted(ring, Arc::clone(&parts.dhcp)));
    let tended = Arc::clone(&parts.dhcp);
    tokio::spawn(async move { tended.tend().await });
    match ports.watch() {
        Ok(listening) => {
            tokio::spawn(async move {
                let Err(e) = listening.await;
                error!(error = chain(e), "changes in pods are noticed late from now on");
            });
        }
        // Ports go on without it; a look now and then is what there was before.
        Err(e) => warn!(error = chain(e), "changes in pods are noticed late"),
    }
    tokio::spawn(ports.watch_files());
    let known = ports.adopt().await?;
    reconcile::sweep(&parts, &known)?;
    tokio::spawn(reconcile::release_others(parts));
    listen(&options.config, &ports);
    info!(adopted = known.len(), "agent is ready");
    for netns in &options.attach {
        if let Err(e) = attach(&ports, netns).await {
            // The ports that were adopted need the agent more than it needs this one.
            error!(netns = %netns.display(), error = format!("{e:#}"), "could not attach");
        }
    }

    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("agent stops; its ports go on forwarding");
    };
    let metrics = metrics.map(|listener| telemetry::serve(listener, sampler(ports.clone())));
    let telemetry = async {
        match metrics {
            Some(serving) => serving.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = api::serve(socket, ports, stop) => served.context("serve the API"),
        ended = telemetry => Ok(ended?),
        ended = &mut punted => {
            error!("no guest is served any more");
            let Err(e) = ended.context("the task that serves the guests panicked")?;
            Err(e).context("serve the guests")
        }
    }
}

fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Starts to hear of pods that ask for ports by their annotations.
fn listen(config: &Config, ports: &Ports) {
    let permitted = Permitted { guard_exceptions: config.pods.guard_exceptions };
    let pods = |source| {
        let pods = Pods::new(source, Arc::new(ports.clone()), permitted);
        let tended = pods.clone();
        tokio::spawn(async move { tended.tend().await });
        pods
    };
    if let Some(CriSection { socket, events }) = config.cri.clone() {
        tokio::spawn(discovery::cri::watch(discovery::cri::Runtime { socket, events }, pods(Source::Cri)));
    }
    if let Some(NriSection { socket }) = config.nri.clone() {
        tokio::spawn(discovery::nri::serve(socket, pods(Source::Nri)));
    }
}

/// Attaches a namespace with default settings.
async fn attach(ports: &Ports, netns: &Path) -> Result<()> {
    let request = v1::AttachRequest { netns: netns.display().to_string(), ..v1::AttachRequest::default() };
    ports.attach(api::port_spec(&request)?).await?;
    Ok(())
}

/// Takes everything off that netagent made on this node. Only while no agent runs.
///
/// # Errors
/// When an agent runs, or something of ours cannot be removed; the rest is removed all the same.
pub async fn clean_up(config: &Config) -> Result<Vec<PortId>> {
    privileges::check()?;
    // An agent that answers there works on the same asks, whatever BPF filesystem it has.
    let _socket = Socket::bind(&config.socket)?;
    let parts = match parts(config, &[]) {
        Err(e) if matches!(e.downcast_ref(), Some(DatapathError::Layout { .. })) => {
            // Maps of another layout tell nothing. Without them the ports are found by what was asked for.
            let pins = Pins::below(&config.bpffs);
            let lock = bpffs::lock(pins.directory())?;
            pins.remove_maps()?;
            drop(lock);
            self::parts(config, &[])?
        }
        other => other?,
    };
    let CleanedUp { gone, left } = reconcile::take_all_off(&parts).await?;
    let left: Vec<_> =
        left.into_iter().map(|(port, e)| format!("port {port}: {:#}", anyhow::Error::from(e))).collect();
    anyhow::ensure!(left.is_empty(), "{}", left.join("; "));
    parts.datapath.pins().remove_all()?;
    Ok(gone)
}

fn parts(config: &Config, lacking: &[Feature]) -> Result<Parts> {
    let datapath = Datapath::open(&config.bpffs, lacking)?;
    Ok(Parts {
        slots: Arc::new(Slots::from_entries(&datapath.maps().entries()?)),
        datapath,
        dhcp: Arc::new(dhcp::Service::new(config.lease_time())),
        store: Arc::new(SpecStore::open(&config.ports_directory())?),
    })
}

/// Reads the ports for a scrape. Counters that cannot be read are left out of it.
fn sampler(ports: Ports) -> impl Fn() -> Vec<PortSample> + Send + Sync {
    move || {
        let Parts { datapath, dhcp, .. } = ports.parts();
        let sample = |port: PortLookup| {
            let slot = port.status.wired.map(|wired| wired.slot);
            PortSample {
                state: port.status.state.as_str(),
                counters: slot.and_then(|slot| datapath.maps().counters(slot).ok()),
                messages: slot.map(|slot| dhcp.dialogue(slot).messages).unwrap_or_default(),
                id: port.id,
            }
        };
        ports.list().into_iter().map(sample).collect()
    }
}
