// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those who find out who wants a port, as far as they are configured.

use std::{future::Future, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};

use crate::{
    api::{Socket, SocketFile},
    config::{Config, KubeVirt},
    core::{annotations::Permitted, origin::Source},
    discovery::{
        Pods, cri,
        kubevirt::{self, HookSettings},
        nri,
    },
    reconcile::Ports,
    telemetry::Health,
};

/// KubeVirt's node hooks, with their socket bound: what comes from now on waits until it is served.
pub(super) struct NodeHooks {
    listener: tokio::net::UnixListener,
    settings: HookSettings,
    // Kept: with it goes the socket's file.
    _file: SocketFile,
}

impl NodeHooks {
    /// Binds their socket; `None` where there is to be none.
    pub(super) fn bind(config: &KubeVirt) -> Result<Option<Self>> {
        let Some(path) = &config.hooks else { return Ok(None) };
        let socket =
            Socket::bind(path).context("bind the socket of KubeVirt's node hooks ([kubevirt] hooks)")?;
        let (listener, file) = socket.into_parts();
        let settings = HookSettings {
            binding: config.binding.clone(),
            kubelet: config.kubelet.to_path_buf(),
            accelerate: config.accelerate,
        };
        Ok(Some(Self { listener, settings, _file: file }))
    }

    /// Serves virt-handler until `stop` is there.
    pub(super) async fn serve(
        self,
        ports: Ports,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let Self { listener, settings, _file } = self;
        let served = kubevirt::serve(listener, settings, Arc::new(ports), stop).await;
        served.context("serve KubeVirt's node hooks")
    }
}

/// The container runtime, as far as it is to tell of pods that ask for ports by their annotations.
pub(super) struct Runtimes {
    cri: Option<(cri::Runtime, Pods)>,
    nri: Option<(PathBuf, Pods)>,
}

impl Runtimes {
    /// Those that are configured. Nothing is asked before [`listen`](Self::listen).
    pub(super) fn new(config: &Config, ports: &Ports) -> Self {
        let permitted = Permitted { guard_exceptions: config.pods.guard_exceptions };
        let pods = |source| Pods::new(source, Arc::new(ports.clone()), permitted);
        let cri = config.cri.socket.as_ref().map(|socket| {
            let runtime = cri::Runtime { socket: socket.to_path_buf(), events: config.cri.events };
            (runtime, pods(Source::Cri))
        });
        let nri = config.nri.socket.as_ref().map(|socket| (socket.to_path_buf(), pods(Source::Nri)));
        Self { cri, nri }
    }

    /// The pods of each.
    pub(super) fn pods(&self) -> Vec<Pods> {
        let cri = self.cri.iter().map(|(_, pods)| pods);
        cri.chain(self.nri.iter().map(|(_, pods)| pods)).cloned().collect()
    }

    /// Starts to hear from them.
    pub(super) fn listen(self, health: &Health) {
        for pods in self.pods() {
            health.must_run("the task that wires pods", &tokio::spawn(async move { pods.tend().await }));
        }
        if let Some((runtime, pods)) = self.cri {
            let watching = tokio::spawn(cri::watch(runtime, pods));
            health.must_run("the task that reads the runtime's pods", &watching);
        }
        if let Some((socket, pods)) = self.nri {
            let serving = tokio::spawn(nri::serve(socket, pods));
            health.must_run("the task that serves the runtime's calls", &serving);
        }
    }
}
