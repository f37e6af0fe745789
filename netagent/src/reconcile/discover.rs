// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what the pod is: its link, addresses, routes, DNS and host name.

use crate::{
    core::{
        ids::IfName,
        pod::{PodFacts, PodLink},
        spec::PortSpec,
    },
    netlink::{Netlink, NetlinkError},
};

use super::pod_files::{self, PodFileError};

/// The pod cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The link is not there.
    #[error("the namespace has no link {0}; wait for the CNI, or name the right one with --pod-link")]
    NoLink(IfName),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A file of the pod is unusable.
    #[error(transparent)]
    File(#[from] PodFileError),
}

/// Reads the pod that `netlink` is in.
pub(super) async fn discover(netlink: &Netlink, spec: &PortSpec) -> Result<PodFacts, DiscoverError> {
    let link =
        netlink.link(&spec.pod_link).await?.ok_or_else(|| DiscoverError::NoLink(spec.pod_link.clone()))?;
    Ok(PodFacts {
        addresses: netlink.global_addresses(link.ifindex).await?,
        routes: netlink.routes(link.ifindex).await?,
        dns: pod_files::dns(&spec.netns, spec.resolv_conf.as_deref())?,
        hostname: pod_files::hostname(&spec.netns, spec.hostname.as_deref())?,
        link: PodLink {
            ifname: spec.pod_link.clone(),
            ifindex: link.ifindex,
            mac: link.mac,
            mtu: link.mtu,
            kind: link.kind,
            up: link.up,
            peer_elsewhere: link.peer_elsewhere,
        },
    })
}
