// SPDX-License-Identifier: MIT OR Apache-2.0
//! The composition root: check everything, build the parts, run them.

mod reload;
mod scrape;
mod sources;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, Result};
pub use reload::Reload;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    api::{self, Socket, v1},
    config::Config,
    core::ids::PortId,
    datapath::{Datapath, DatapathError, Feature, Pins},
    dhcp,
    reconcile::{self, CleanedUp, Parts, Ports, Slots, SpecStore, Tally},
    sys::{bpffs, heap, locked_memory, privileges, selinux, supervisor::Supervisor},
    telemetry::{self, Health, Stage},
};
use scrape::Scrape;
use sources::{NodeHooks, Runtimes};

/// How one agent is to run.
pub struct Options {
    /// Its configuration, checked.
    pub config: Config,
    /// Features that it takes this kernel to lack.
    pub lacking: Vec<Feature>,
    /// How it may come to another one.
    pub reload: Reload,
    /// Namespaces to attach with default settings once it runs.
    pub attach: Vec<PathBuf>,
}

/// Gives up what the agent does not need to run, before it has threads.
///
/// # Errors
/// When something that it does need is missing.
pub fn shed_privileges(config: &Config) -> Result<()> {
    privileges::check()?;
    // Takes CAP_SYS_RESOURCE, which goes. Where it cannot be lifted, and has to be, loading programs says so.
    let _ = locked_memory::lift_limit();
    let also: &[_] = if config.kubevirt.hooks.is_some() { &[privileges::CONNECT_TO_LAUNCHERS] } else { &[] };
    privileges::keep_only_needed(also)?;
    if !selinux::is_enforced() {
        // There the agent starts itself under another label, and without new privileges it may not have that.
        privileges::forbid_new()?;
    }
    Ok(())
}

/// Runs the agent until it is told to stop. Stopping leaves the ports as they are: forwarding.
///
/// # Errors
/// When the agent cannot start, or what it needs to go on fails.
pub async fn run(options: Options) -> Result<()> {
    privileges::check()?;
    // Before anything else: until somebody listens the signal ends the process.
    let hangup = signal(SignalKind::hangup()).context("watch SIGHUP")?;
    let agent = options.config.agent.clone();
    heap::share_arenas();
    // The socket first: a second agent is refused before it touches anything.
    let socket = Socket::bind(&agent.socket)?;
    let hooks = NodeHooks::bind(&options.config.kubevirt)?;
    let supervisor = Supervisor::from_environment().context("read NOTIFY_SOCKET")?;
    // Answered from the start on: until then that, and why, it is not ready.
    let health = Arc::new(Health::default());
    let scrape = Arc::new(OnceLock::new());
    let telemetry = match agent.metrics {
        Some(address) => {
            let listener = telemetry::listen(address).await?;
            let scrape: Arc<OnceLock<Scrape>> = Arc::clone(&scrape);
            let sample = move || {
                let scrape = Arc::clone(&scrape);
                async move { Some(scrape.get()?.read().await) }
            };
            tokio::spawn(telemetry::serve(listener, Arc::clone(&health), sample))
        }
        None => tokio::spawn(std::future::pending()),
    };
    let parts = parts(&options.config, &options.lacking)?;
    heap::give_back();
    let ring = parts.datapath.punt_ring()?;
    let ports = Ports::new(parts.clone(), agent.resync());
    let runtimes = Runtimes::new(&options.config, &ports);
    // Only a second one could fail.
    let _ = scrape.set(Scrape::new(ports.clone(), runtimes.pods()));
    let features = parts.datapath.features();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %agent.socket.display(),
        hook = %features.hook(),
        redirect_peer = features.redirect_peer,
        "agent starts"
    );

    let mut punted = tokio::spawn(reconcile::serve_punted(ring, Arc::clone(&parts.dhcp)));
    let tended = Arc::clone(&parts.dhcp);
    let tending = tokio::spawn(async move { tended.tend().await });
    health.must_run("the task that serves the guests", &punted);
    health.must_run("the task that speaks to the guests", &tending);
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
    tokio::spawn(ports.feel_pulses());
    health.enter(Stage::Starting("taking up the ports"));
    let known = ports.adopt().await?;
    reconcile::sweep(&parts, &known)?;
    tokio::spawn(reconcile::release_others(parts));
    for netns in &options.attach {
        if let Err(e) = attach(&ports, netns).await {
            // The ports that were adopted need the agent more than it needs this one.
            error!(netns = %netns.display(), error = format!("{e:#}"), "could not attach");
        }
    }

    let sources = runtimes.pods();
    runtimes.listen(&health);
    tokio::spawn(options.reload.follow(hangup, options.config, ports.clone()));
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let stopping = Arc::clone(&health);
    let told = Supervisor::clone(&supervisor);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.enter(Stage::Stopping);
        said(told.stopping());
        info!("agent stops; its ports go on forwarding");
    };
    let hooks = match hooks {
        Some(hooks) => {
            let serving = tokio::spawn(hooks.serve(ports.clone(), std::future::pending()));
            health.must_run("the task that serves KubeVirt's node hooks", &serving);
            serving
        }
        None => tokio::spawn(std::future::pending()),
    };
    let mut api = tokio::spawn(api::serve(socket, ports, sources, stop));
    health.must_run("the API", &api);
    health.enter(Stage::Ready);
    info!(adopted = known.len(), "agent is ready");
    said(supervisor.ready(&format!("{} ports taken up", known.len())));
    tokio::select! {
        served = &mut api => served.context("the API's task panicked")?.context("serve the API"),
        ended = hooks => ended.context("the task that serves KubeVirt's node hooks panicked")?,
        ended = telemetry => Ok(ended.context("the task that serves metrics panicked")??),
        ended = &mut punted => {
            error!("no guest is served any more");
            let Err(e) = ended.context("the task that serves the guests panicked")?;
            Err(e).context("serve the guests")
        }
    }
}

/// What became of a word to the supervisor: nothing depends on it.
fn said(told: std::io::Result<()>) {
    if let Err(error) = told {
        warn!(%error, "the supervisor does not hear this agent (NOTIFY_SOCKET)");
    }
}

fn chain(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
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
    let _socket = Socket::bind(&config.agent.socket)?;
    let parts = match parts(config, &[]) {
        Err(e) if matches!(e.downcast_ref(), Some(DatapathError::Layout { .. })) => {
            // Maps of another layout tell nothing. Without them the ports are found by what was asked for.
            let pins = Pins::below(&config.agent.bpffs);
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
    let datapath = Datapath::open(&config.agent.bpffs, lacking)?;
    Ok(Parts {
        slots: Arc::new(Slots::from_entries(&datapath.maps().entries()?)),
        datapath,
        dhcp: Arc::new(dhcp::Service::new(config.agent.lease_time())),
        store: Arc::new(SpecStore::open(&config.agent.ports_directory())?),
        tally: Arc::new(Tally::default()),
    })
}
