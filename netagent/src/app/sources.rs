// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those who find out who wants a port, as far as they are configured.

use std::{future::Future, sync::Arc};

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

/// Starts to hear from the container runtime of pods that ask for ports by their annotations.
pub(super) fn listen(config: &Config, ports: &Ports, health: &Health) {
    let permitted = Permitted { guard_exceptions: config.pods.guard_exceptions };
    let pods = |source| {
        let pods = Pods::new(source, Arc::new(ports.clone()), permitted);
        let tended = pods.clone();
        health.must_run("the task that wires pods", &tokio::spawn(async move { tended.tend().await }));
        pods
    };
    if let Some(socket) = &config.cri.socket {
        let runtime = cri::Runtime { socket: socket.to_path_buf(), events: config.cri.events };
        let watching = tokio::spawn(cri::watch(runtime, pods(Source::Cri)));
        health.must_run("the task that reads the runtime's pods", &watching);
    }
    if let Some(socket) = &config.nri.socket {
        let serving = tokio::spawn(nri::serve(socket.to_path_buf(), pods(Source::Nri)));
        health.must_run("the task that serves the runtime's calls", &serving);
    }
}
