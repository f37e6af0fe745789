// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what the pod is: its link and what stands around it, addresses, routes, DNS and host name.

use std::{collections::BTreeMap, io};

use ipnet::IpNet;

use crate::{
    core::{
        bridged::{self, GuestBehind},
        ids::IfName,
        mode::Mode,
        pod::{Dns, HostPeer, PodFacts, PodLink},
        program::{Program, Side},
        spec::PortSpec,
        tier::TierChoice,
    },
    datapath::DatapathError,
    netlink::{LinkState, NetlinkError, base_chains_here},
    sys::{
        netns::{Netns, NetnsError},
        xtables,
    },
};

use super::{
    Parts,
    host_peer::xdp_ground,
    observe::{Inside, is_ours},
    pod_files::{self, PodFileError},
};

/// The pod cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The link is not there.
    #[error("the namespace has no link {0}; wait for the CNI, or name the right one with --pod-link")]
    NoLink(IfName),
    /// Nothing says who the guest behind the bridge is.
    #[error(
        "pod link {0} has no stand-in: KubeVirt's binding `bridge` renames X to X-nic and makes a dummy X with the pod's addresses; name the renamed link with --pod-link"
    )]
    NoStandIn(IfName),
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Its programs cannot be listed.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// Its namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Its netfilter rules cannot be read.
    #[error("list the {0} rules of the pod")]
    Rules(&'static str, #[source] io::Error),
    /// A device does not tell what it does.
    #[error("read the {what} of {ifname}")]
    Ethtool {
        /// What was asked for.
        what: &'static str,
        /// The device.
        ifname: IfName,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// A file of the pod is unusable.
    #[error(transparent)]
    File(#[from] PodFileError),
}

/// Reads the pod.
pub(super) async fn discover(
    parts: &Parts,
    inside: &Inside,
    spec: &PortSpec,
) -> Result<PodFacts, DiscoverError> {
    let netlink = &inside.netlink;
    let link =
        netlink.link(&spec.pod_link).await?.ok_or_else(|| DiscoverError::NoLink(spec.pod_link.clone()))?;
    let egress = egress(parts, inside, spec, &link).await?;
    let host_peer = host_peer(inside, &link).await;
    let identity = match spec.mode {
        Mode::L2 => own_identity(inside, spec, &link).await?,
        Mode::Accelerate => identity_behind_a_bridge(inside, spec).await?,
    };
    Ok(PodFacts {
        addresses: identity.addresses,
        routes: netlink.routes(link.ifindex).await?,
        dns: identity.dns,
        hostname: identity.hostname,
        behind: identity.behind,
        rules: rules(&inside.netns).await?,
        // Who they are is asked on the link, and not at every look.
        routers: BTreeMap::new(),
        link: PodLink {
            xdp: match spec.tier {
                TierChoice::Xdp => Some(xdp_ground(parts, inside, spec, &link).await?),
                TierChoice::Auto | TierChoice::Peer | TierChoice::Plain => None,
            },
            ifname: spec.pod_link.clone(),
            ifindex: link.ifindex,
            mac: link.mac,
            mtu: link.mtu,
            kind: link.kind,
            up: link.up,
            peer_elsewhere: link.peer_elsewhere,
            egress,
            host_peer,
        },
    })
}

/// Who the guest is, and what it is told.
#[derive(Default)]
struct Identity {
    addresses: Vec<IpNet>,
    dns: Dns,
    hostname: Option<String>,
    behind: Option<GuestBehind>,
}

async fn own_identity(inside: &Inside, spec: &PortSpec, link: &LinkState) -> Result<Identity, DiscoverError> {
    Ok(Identity {
        addresses: inside.netlink.global_addresses(link.ifindex).await?,
        dns: if spec.hand_off.replaces_dns() {
            Dns::default()
        } else {
            pod_files::dns(&spec.netns, spec.resolv_conf.as_deref()).await?
        },
        hostname: pod_files::hostname(&spec.netns, spec.hostname.as_deref()).await?,
        behind: None,
    })
}

/// The pod link has given its addresses away; the guest is told by KubeVirt.
async fn identity_behind_a_bridge(inside: &Inside, spec: &PortSpec) -> Result<Identity, DiscoverError> {
    let netlink = &inside.netlink;
    for name in bridged::stand_ins(&spec.pod_link) {
        let Some(link) = netlink.link(&name).await?.filter(|link| link.master.is_none()) else { continue };
        let heard = match netlink.link(&spec.tap.name).await? {
            Some(tap) => netlink.heard_through(tap.ifindex).await?,
            None => Default::default(),
        };
        return Ok(Identity {
            addresses: netlink.global_addresses(link.ifindex).await?,
            behind: Some(GuestBehind { mac: link.mac, heard }),
            ..Identity::default()
        });
    }
    Err(DiscoverError::NoStandIn(spec.pod_link.clone()))
}

/// What packets that leave by the pod link pass there, and would not if they went straight to its peer.
async fn egress(
    parts: &Parts,
    inside: &Inside,
    spec: &PortSpec,
    link: &LinkState,
) -> Result<Option<String>, DiscoverError> {
    if link.qdisc != "noqueue" {
        return Ok(Some(format!("a {} qdisc", link.qdisc)));
    }
    let filters = inside.netlink.filters(link.ifindex, Side::Egress).await?;
    if filters.iter().any(|filter| !is_ours(Program::FromPod, filter)) {
        return Ok(Some("a tc filter".into()));
    }
    let tcx = parts.datapath.has_foreign_tcx_egress(&inside.netns, &spec.id(), &spec.pod_link).await?;
    Ok(tcx.then(|| "a tcx program".into()))
}

/// What is known of the other end. That it cannot be seen is no reason not to wire the port: it is one against `peer`.
async fn host_peer(inside: &Inside, link: &LinkState) -> HostPeer {
    let Some(peer) = link.peer else { return HostPeer::Clear };
    let seen = inside.netlink.host_peer(peer).await;
    seen.unwrap_or_else(|e| HostPeer::Unseen(format!("{:#}", anyhow::Error::from(e))))
}

/// Rules that look at what the pod's IP stack handles, or at devices after tc: the guest's packets meet neither.
async fn rules(netns: &Netns) -> Result<Vec<String>, DiscoverError> {
    let (nftables, xtables) = netns.run(|| (base_chains_here(), xtables::tables_here())).await?;
    let nftables = nftables.map_err(|e| DiscoverError::Rules("nftables", e))?;
    let xtables = xtables.map_err(|e| DiscoverError::Rules("iptables", e))?;
    let nftables = nftables.iter().map(ToString::to_string);
    Ok(nftables.chain(xtables.iter().map(ToString::to_string)).collect())
}
