// SPDX-License-Identifier: MIT OR Apache-2.0
//! The composition root: check everything, build the parts, run them.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::{
    api::{self, Socket, v1},
    config::Config,
    core::ids::PortId,
    datapath::{Datapath, DatapathError, Feature, Pins},
    dhcp,
    reconcile::{self, Parts, PortLookup, Ports, Slots, SpecStore},
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
    let adopted = ports.adopt().await?;
    reconcile::sweep(&parts, &known(&ports))?;
    info!(adopted, "agent is ready");
    for netns in &options.attach {
        let request =
            v1::AttachRequest { netns: netns.display().to_string(), ..v1::AttachRequest::default() };
        let spec = api::port_spec(&request)?;
        ports.attach(spec).await.with_context(|| format!("attach {}", netns.display()))?;
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
    let metrics = options.config.metrics.map(|address| telemetry::serve(address, sampler(ports.clone())));
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
            ended.context("the task that serves the guests panicked")?.context("serve the guests")
        }
    }
}

/// Takes everything off that netagent made on this node. Only while no agent runs.
///
/// # Errors
/// When an agent runs, or something of ours cannot be removed; the rest is removed all the same.
pub async fn clean_up(config: &Config) -> Result<Vec<PortId>> {
    privileges::check()?;
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
    let ports = Ports::new(parts.clone(), config.resync());
    ports.adopt_unwanted()?;
    let mut gone = Vec::new();
    let mut failed = Vec::new();
    for port in ports.list() {
        match ports.detach(&port.id).await {
            Ok(_) => gone.push(port.id),
            Err(e) => failed.push(format!("{:#}", anyhow::Error::from(e))),
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    reconcile::sweep(&parts, &BTreeSet::new())?;
    parts.datapath.pins().remove_all()?;
    Ok(gone)
}

fn parts(config: &Config, lacking: &[Feature]) -> Result<Parts> {
    Ok(Parts {
        datapath: Datapath::open(&config.bpffs, lacking)?,
        dhcp: Arc::new(dhcp::Service::new(config.lease_time())),
        slots: Arc::new(Slots::default()),
        store: Arc::new(SpecStore::open(&config.ports_directory())?),
    })
}

/// Reads the ports for a scrape. Counters that cannot be read are left out of it.
fn sampler(ports: Ports) -> impl Fn() -> Vec<PortSample> + Send + Sync {
    move || {
        let sample = |port: PortLookup| PortSample {
            state: port.status.state.as_str(),
            counters: port
                .status
                .wired
                .and_then(|wired| ports.parts().datapath.maps().counters(wired.slot).ok()),
            id: port.id,
        };
        ports.list().into_iter().map(sample).collect()
    }
}

fn known(ports: &Ports) -> BTreeSet<PortId> {
    ports.list().into_iter().map(|port| port.id).collect()
}
