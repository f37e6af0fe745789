// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other end of a pod link: found in another namespace, and read there.
//!
//! The pod's namespace knows the peer's index and has a number for the peer's namespace; neither leads there. So the
//! namespaces that the agent can open are asked for their number in the pod's: its own, init's, and the named ones.

use std::{fs, path::PathBuf};

use super::{DiscoverError, Parts, observe::Inside, ports::chain};
use crate::{
    core::{
        program::Program,
        spec::PortSpec,
        xdp::{PeerDevice, XdpGround},
    },
    datapath::LinkPin,
    netlink::{LinkState, Netlink, PeerLink},
    sys::{ethtool, netns::Netns},
};

/// Where the agent's own namespace and init's are found; a node's pods have their peers in one of them.
const NODE: [&str; 2] = ["/proc/self/ns/net", "/proc/1/ns/net"];
/// Where `ip netns` and CNI runtimes keep named namespaces.
const NAMED: &str = "/run/netns";

/// Reads what tier `xdp` has to know of the pod link and its peer.
///
/// # Errors
/// When the pod link cannot be read. A peer that cannot is part of the answer.
pub(super) async fn xdp_ground(
    parts: &Parts,
    inside: &Inside,
    spec: &PortSpec,
    link: &LinkState,
) -> Result<XdpGround, DiscoverError> {
    let name = spec.pod_link.clone();
    let queues = inside
        .netns
        .run(move || ethtool::queues(&name))
        .await?
        .map_err(|source| DiscoverError::Ethtool { what: "queues", ifname: spec.pod_link.clone(), source })?;
    let ours = match parts.datapath.link_pin(&spec.id(), Program::XdpToVm)? {
        LinkPin::Attached { program_id, .. } => Some(program_id),
        LinkPin::Absent | LinkPin::Severed => None,
    };
    Ok(XdpGround {
        foreign_program: link.xdp.is_some() && link.xdp != ours,
        rx_queues: queues.map(|queues| queues.rx),
        peer: peer(inside, link).await,
    })
}

async fn peer(inside: &Inside, link: &LinkState) -> Result<PeerDevice, String> {
    let Some(PeerLink { ifindex, netnsid: number }) = link.peer else {
        return Err("the kernel does not tell its host peer".into());
    };
    let Some(netns) = numbered(&inside.netlink, number).await else {
        return Err(format!(
            "its host peer is in a namespace that is neither the agent's nor init's nor named in {NAMED}, so its \
             offloads cannot be read; run the agent with hostNetwork or hostPID"
        ));
    };
    let place = format!("its host peer, link {ifindex} in {}", netns.path().display());
    let failed = |words: String| format!("{place}, cannot be read: {words}");
    let netlink = Netlink::open(&netns).await.map_err(|e| failed(chain(e)))?;
    let (ifname, state) = match netlink.link_by_index(ifindex).await {
        Ok(Some(found)) => found,
        Ok(None) => return Err(format!("{place}, is gone")),
        Err(e) => return Err(failed(chain(e))),
    };
    let name = ifname.clone();
    let told = netns.run(move || Ok((ethtool::active_features(&name)?, ethtool::queues(&name)?))).await;
    let (features, queues) =
        told.map_err(|e| failed(chain(e)))?.map_err(|e: std::io::Error| failed(e.to_string()))?;
    Ok(PeerDevice {
        ifname: ifname.to_string(),
        mtu: state.mtu,
        has_program: state.xdp.is_some(),
        tx_queues: queues.map(|queues| queues.tx),
        features,
    })
}

/// The namespace that the pod's has this number for, if the agent can open it.
async fn numbered(pod: &Netlink, number: i32) -> Option<Netns> {
    let named = fs::read_dir(NAMED).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in NODE.iter().map(PathBuf::from).chain(named) {
        // What cannot be opened or asked is not the one.
        let Ok(netns) = Netns::open(&path) else { continue };
        if let Ok(Some(found)) = pod.number_of(&netns).await
            && found == number
        {
            return Some(netns);
        }
    }
    None
}
