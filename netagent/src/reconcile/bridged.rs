// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks into a pod for what mode `accelerate` could take over.

use super::PassError;
use crate::{
    core::bridged::{self, BridgedPort, Link},
    netlink::Netlink,
    sys::netns::Netns,
};

/// The ports of a pod that KubeVirt has wired with its binding `bridge`.
///
/// # Errors
/// When the pod cannot be read.
pub async fn bridged_ports(netns: &Netns) -> Result<Vec<BridgedPort>, PassError> {
    let links = Netlink::open(netns).await?.links().await?;
    let links: Vec<_> = links
        .into_iter()
        .map(|(ifname, link)| Link { ifname, ifindex: link.ifindex, master: link.master, kind: link.kind })
        .collect();
    Ok(bridged::find(&links))
}
