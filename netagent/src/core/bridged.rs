// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices of KubeVirt's binding `bridge`, known by their names and by how they hang together.
//!
//! KubeVirt renames a pod link X to `X-nic` and puts it into the bridge `k6t-X` with the tap; a dummy called X keeps
//! the pod's addresses. Of a secondary network, whose link is `podH`, the H alone is used (pkg/network/link/names.go).

use std::collections::BTreeSet;

use super::ids::{IdError, IfName, MacAddr};

const BRIDGE: &str = "k6t-";
const POD_LINK: &str = "-nic";
const SECONDARY: &str = "pod";

/// A link of a pod, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub ifname: IfName,
    /// Its index.
    pub ifindex: u32,
    /// The bridge that it is in.
    pub master: Option<u32>,
    /// `IFLA_INFO_KIND`.
    pub kind: String,
}

/// What could be a port in mode `accelerate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgedPort {
    /// The link that the CNI made, by the name that it has now.
    pub pod_link: IfName,
    /// The tap beside it in the bridge.
    pub tap: IfName,
    /// The link that has the pod's addresses and the name that the pod link had: a dummy.
    pub stand_in: IfName,
}

/// What the wiring says of the guest behind the tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestBehind {
    /// The MAC that the CNI gave the pod; the stand-in has it.
    pub mac: Option<MacAddr>,
    /// The stations that the bridge has heard through the tap.
    pub heard: BTreeSet<MacAddr>,
}

/// The name that a pod link has in its bridge.
///
/// # Errors
/// When no link can have that name.
pub fn pod_link_of(link: &IfName) -> Result<IfName, IdError> {
    format!("{}{POD_LINK}", link.as_str().strip_prefix(SECONDARY).unwrap_or(link.as_str())).parse()
}

/// The names that the stand-in of a bridged pod link may have; none for a link that KubeVirt has not renamed.
pub fn stand_ins(pod_link: &IfName) -> Vec<IfName> {
    let Some(of) = pod_link.as_str().strip_suffix(POD_LINK) else { return Vec::new() };
    [of.to_owned(), format!("{SECONDARY}{of}")].iter().filter_map(|name| name.parse().ok()).collect()
}

/// The ports of a pod that could be accelerated. A bridge without the pod link in it, as the binding `masquerade` has
/// one, is none of them, nor is one with several taps.
pub fn find(links: &[Link]) -> Vec<BridgedPort> {
    let bridges = links.iter().filter(|link| link.kind == "bridge");
    bridges.filter_map(|bridge| in_bridge(bridge, links)).collect()
}

fn in_bridge(bridge: &Link, links: &[Link]) -> Option<BridgedPort> {
    let of = bridge.ifname.as_str().strip_prefix(BRIDGE)?;
    let inside = || links.iter().filter(|link| link.master == Some(bridge.ifindex));
    let pod_link = inside().find(|link| link.ifname.as_str().strip_suffix(POD_LINK) == Some(of))?;
    let mut taps = inside().filter(|link| link.kind == "tun");
    let (tap, None) = (taps.next()?, taps.next()) else { return None };
    let is_stand_in = |name: &IfName| links.iter().any(|link| link.ifname == *name && link.master.is_none());
    Some(BridgedPort {
        stand_in: stand_ins(&pod_link.ifname).into_iter().find(is_stand_in)?,
        pod_link: pod_link.ifname.clone(),
        tap: tap.ifname.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, ifname: &str, kind: &str, master: Option<u32>) -> Link {
        Link { ifname: ifname.parse().unwrap(), ifindex, master, kind: kind.into() }
    }

    /// A pod with a network of each kind: the pod's own and a secondary one.
    fn pod() -> Vec<Link> {
        vec![
            link(1, "lo", "", None),
            link(2, "eth0-nic", "veth", Some(3)),
            link(3, "k6t-eth0", "bridge", None),
            link(4, "tap0", "tun", Some(3)),
            link(5, "eth0", "dummy", None),
            link(6, "b1f51a511f1-nic", "veth", Some(7)),
            link(7, "k6t-b1f51a511f1", "bridge", None),
            link(8, "tapb1f51a511f1", "tun", Some(7)),
            link(9, "podb1f51a511f1", "dummy", None),
        ]
    }

    fn text(links: &[Link]) -> Vec<String> {
        find(links).iter().map(|p| format!("{} {} {}", p.pod_link, p.tap, p.stand_in)).collect()
    }

    #[test]
    fn both_kinds_of_networks_are_found() {
        assert_eq!(text(&pod()), ["eth0-nic tap0 eth0", "b1f51a511f1-nic tapb1f51a511f1 podb1f51a511f1"]);
        assert_eq!(stand_ins(&"eth0".parse().unwrap()), []);
        let renamed = |link: &str| pod_link_of(&link.parse().unwrap()).map(|link| link.to_string());
        assert_eq!(renamed("eth0").unwrap(), "eth0-nic");
        assert_eq!(renamed("podb1f51a511f1").unwrap(), "b1f51a511f1-nic");
        assert!(renamed("fifteen-letters").is_err());
    }

    #[test]
    fn what_is_wired_otherwise_is_left_alone() {
        let spoilt = |spoil: fn(&mut Vec<Link>)| {
            let mut links = pod();
            spoil(&mut links);
            text(&links).len()
        };
        assert_eq!(spoilt(|links| links[1].master = None), 1, "masquerade: the pod link is in no bridge");
        assert_eq!(spoilt(|links| links[3].kind = "veth".into()), 1, "no tap");
        assert_eq!(spoilt(|links| links.push(link(10, "tap9", "tun", Some(3)))), 1, "two taps");
        assert_eq!(spoilt(|links| _ = links.remove(4)), 1, "no stand-in");
        assert_eq!(spoilt(|links| links[2].ifname = "br0".parse().unwrap()), 1, "somebody else's bridge");
        assert_eq!(find(&[]), []);
    }
}
