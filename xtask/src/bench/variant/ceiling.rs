// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a way through a pod is held against: the guest's tap in the node itself, the same one router further, and a
//! container in the guest's place.

use anyhow::Result;
use netagent_tests::topology::{GATEWAY4, HOST_LINK, POD_LINK, POD4};

use crate::bench::scene::{Plug, Qdisc, TAP, Wired, make_tap, pod};

/// Of the link between node and router.
const TRANSFER: [&str; 2] = ["169.254.9.1", "169.254.9.2"];

/// No pod on the way: the node has the gateway's address on the tap itself.
pub(super) fn ip_on_tap() -> Result<Wired> {
    let wired = Wired { plug: Plug::NodeTap, ..Wired::plain(pod()?)? };
    let node = &wired.topology.node;
    node.ip(&format!("link delete {HOST_LINK}"))?;
    make_tap(node, wired.topology.spec.mtu, Qdisc::Default)?;
    node.ip(&format!("address add {GATEWAY4}/24 dev {TAP}"))?;
    Ok(wired)
}

/// The pod is a router between the tap and the veth pair.
pub(super) fn ip_on_tap_veth() -> Result<Wired> {
    let wired = Wired::plain(pod()?)?;
    let (node, pod) = (&wired.topology.node, &wired.topology.pod);
    let [near, far] = TRANSFER;
    for (netns, link, address) in [(node, HOST_LINK, near), (pod, POD_LINK, far)] {
        netns.ip(&format!("address flush dev {link}"))?;
        netns.ip(&format!("address add {address}/30 dev {link}"))?;
    }
    node.ip(&format!("route add {POD4} via {far}"))?;
    pod.ip(&format!("route add default via {near}"))?;
    pod.sysctl("ipv4/ip_forward", "1")?;
    make_tap(pod, wired.topology.spec.mtu, Qdisc::Default)?;
    pod.ip(&format!("address add {GATEWAY4}/24 dev {TAP}"))?;
    Ok(wired)
}

/// The pod as it is, with processes in it.
pub(super) fn container() -> Result<Wired> {
    Ok(Wired { plug: Plug::None, ..Wired::plain(pod()?)? })
}
