// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hears of changes to links, addresses, routes, qdiscs and filters in the pods' namespaces.
//!
//! One socket for the node, in the agent's own namespace: a socket inside a pod would keep the pod's namespace alive
//! after the pod. The kernel tells of a namespace by the number that it has in the agent's, so it is given one.
//! A change is only a hint to look: what it was is read anew.

use std::{io, os::fd::OwnedFd};

use futures_util::StreamExt as _;
use rtnetlink::{
    Handle,
    packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        nsid::{NsidAttribute, NsidMessage},
    },
};
use tokio::{io::unix::AsyncFd, task::JoinHandle};

use super::{NetlinkError, TIMEOUT};
use crate::sys::{
    netlink_events::{self, Heard},
    netns::Netns,
    readiness,
};

/// `RTNLGRP_LINK`, `_TC`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE` of include/uapi/linux/rtnetlink.h.
const GROUPS: u32 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;

/// A namespace's number in the agent's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NsId(pub(super) i32);

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something changed in this namespace.
    In(NsId),
    /// Some changes were missed, in whatever namespace.
    Missed,
}

/// The socket that listens.
#[derive(Debug)]
pub struct Monitor {
    socket: AsyncFd<OwnedFd>,
}

/// Changes cannot be heard of.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The socket cannot be opened or read.
    #[error("{operation} the socket for changes in pods (it needs CAP_NET_BROADCAST)")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The namespace has no number and cannot be given one.
    #[error(transparent)]
    Numbering(#[from] NetlinkError),
}

impl Monitor {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self, MonitorError> {
        let failed = |source| MonitorError::Socket { operation: "open", source };
        let socket = netlink_events::open(GROUPS).map_err(failed)?;
        Ok(Self { socket: readiness::readable(socket).map_err(failed)? })
    }

    /// Waits for the next change in another namespace.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn next(&mut self) -> Result<Change, MonitorError> {
        let failed = |source| MonitorError::Socket { operation: "read", source };
        loop {
            let mut ready = self.socket.readable().await.map_err(failed)?;
            match ready.try_io(|socket| netlink_events::receive(socket.get_ref())) {
                Ok(Ok(Heard::Elsewhere(nsid))) => return Ok(Change::In(NsId(nsid))),
                Ok(Ok(Heard::Overrun)) => return Ok(Change::Missed),
                // The node's own, or nothing after all.
                Ok(Ok(Heard::Here)) | Err(_) => {}
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return Err(failed(e)),
            }
        }
    }
}

/// Numbers namespaces in the agent's own.
#[derive(Debug)]
pub struct Numbering {
    pub(super) handle: Handle,
    connection: JoinHandle<()>,
}

impl Numbering {
    /// Opens a socket in the agent's own namespace.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open() -> Result<Self, MonitorError> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| MonitorError::Socket { operation: "open", source })?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The namespace's number, which it is given if it has none. It keeps it as long as it lives.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn number(&self, netns: &Netns) -> Result<NsId, MonitorError> {
        if let Some(nsid) = self.find(netns).await? {
            return Ok(nsid);
        }
        let mut message = of(netns);
        // Any that is free.
        message.attributes.push(NsidAttribute::Id(-1));
        match self.ask("number", netns, RouteNetlinkMessage::NewNsId(message)).await {
            // Somebody else was faster, as an `ip netns` or a veth pair that was looked at.
            Err(e) if e.is_errno(libc::EEXIST) => {}
            other => _ = other?,
        }
        let missing = || NetlinkError::TimedOut {
            operation: "number network namespace",
            object: netns.path().display().to_string(),
        };
        Ok(self.find(netns).await?.ok_or_else(missing)?)
    }

    async fn find(&self, netns: &Netns) -> Result<Option<NsId>, NetlinkError> {
        let answer =
            self.ask("look up the number of", netns, RouteNetlinkMessage::GetNsId(of(netns))).await?;
        Ok(answer.and_then(|message| {
            message.attributes.iter().find_map(|attribute| match attribute {
                // -1: it has none.
                NsidAttribute::Id(id) if *id >= 0 => Some(NsId(*id)),
                _ => None,
            })
        }))
    }

    async fn ask(
        &self,
        operation: &'static str,
        netns: &Netns,
        message: RouteNetlinkMessage,
    ) -> Result<Option<NsidMessage>, NetlinkError> {
        let object = format!("network namespace {}", netns.path().display());
        let exchange = async {
            let mut request = NetlinkMessage::from(message);
            request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
            let mut found = None;
            let mut answers = self.handle.clone().request(request)?;
            while let Some(answer) = answers.next().await {
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(rtnetlink::Error::NetlinkError(error));
                    }
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                        found = Some(message);
                    }
                    _ => {}
                }
            }
            Ok(found)
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(answer) => answer.map_err(|e| NetlinkError::from_answer(operation, &object, e)),
            Err(_) => Err(NetlinkError::TimedOut { operation, object }),
        }
    }
}

impl Drop for Numbering {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn of(netns: &Netns) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(netns.descriptor()));
    message
}
