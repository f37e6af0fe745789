// SPDX-License-Identifier: MIT OR Apache-2.0
//! Typed netlink in one network namespace: links, addresses, routes, qdiscs and filters.
//!
//! rtnetlink and its packets are seen here alone.

mod address;
mod error;
mod far_stats;
mod fdb;
mod link;
mod monitor;
mod netfilter;
mod nsid;
mod peer;
mod route;
mod tc;

use std::{future::Future, time::Duration};

pub use error::NetlinkError;
pub use link::{LinkState, PeerLink, TunState};
pub use monitor::{Change, Monitor, MonitorError, NsId, Numbering};
pub use netfilter::{BaseChain, base_chains_here};
use rtnetlink::{Handle, sys::AsyncSocket as _};
pub use tc::{BpfFilter, IngressQdisc};
use tokio::task::JoinHandle;

use crate::sys::netns::{Netns, NetnsError};

/// rtnetlink waits for ever; the kernel answers in microseconds unless somebody holds the RTNL lock.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A netlink socket inside a namespace. It keeps the namespace alive, so it is dropped when a pass ends.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

/// The socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The socket cannot be opened.
    #[error("open a netlink socket")]
    Socket(#[source] std::io::Error),
}

impl Netlink {
    /// Opens a socket inside `netns`.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the socket not opened.
    pub async fn open(netns: &Netns) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle) = netns
            .run(move || {
                // The socket registers with the runtime that will drive it.
                let _guard = runtime.enter();
                let (mut connection, handle, _) = rtnetlink::new_connection()?;
                // Without the kernel's words an error is a bare errno, which is no reason to do without netlink.
                let _ = connection.socket_mut().socket_mut().set_ext_ack(true);
                Ok((runtime.spawn(connection), handle))
            })
            .await?
            .map_err(OpenError::Socket)?;
        Ok(Self { handle, connection })
    }

    async fn ask<T>(
        &self,
        operation: &'static str,
        object: &(dyn std::fmt::Display + Sync),
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetlinkError> {
        match tokio::time::timeout(TIMEOUT, request).await {
            Ok(answer) => answer.map_err(|e| NetlinkError::from_answer(operation, object, e)),
            Err(_) => Err(NetlinkError::TimedOut { operation, object: object.to_string() }),
        }
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
