// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys of the agent itself.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    USUAL_SOCKET,
    section::section,
    setting::{AbsolutePath, Bounded, LogFilter},
};
use crate::core::hand_off::LEASE_SECONDS;

section! {
    /// The agent itself.
    Agent in "" {
        /// The API's unix socket. The directory that it is in also holds what was asked for, so it belongs on tmpfs.
        at_start socket: AbsolutePath = AbsolutePath::usual(USUAL_SOCKET),
        /// A mounted BPF filesystem.
        at_start bpffs: AbsolutePath = AbsolutePath::usual("/sys/fs/bpf"),
        /// Where metrics and health are served over HTTP; nowhere when it is not set.
        at_start metrics: Option<SocketAddr> = None,
        /// How long a DHCP lease lasts, where the port does not say otherwise. A guest asks again after half of it, and
        /// hears of changes then.
        live lease_seconds: Bounded<{ *LEASE_SECONDS.start() }, { *LEASE_SECONDS.end() }> = Bounded::usual(86_400),
        /// How often a port is compared with what it should be, when nothing else calls for it.
        live resync_seconds: Bounded<1, 3600> = Bounded::usual(30),
        /// What is logged, as in info or netagent=debug.
        live log: LogFilter = LogFilter::usual("info"),
        /// Whether log lines are JSON.
        at_start log_json: bool = false,
    }
}

impl Agent {
    /// How long a lease lasts.
    pub fn lease_time(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.get().into())
    }

    /// How often a port is looked at.
    pub fn resync(&self) -> Duration {
        Duration::from_secs(self.resync_seconds.get().into())
    }

    /// Where asks are kept.
    pub fn ports_directory(&self) -> PathBuf {
        self.socket.parent().unwrap_or(Path::new("/run/netagent")).join("ports")
    }
}
