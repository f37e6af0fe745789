// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses and routes as container network plugins leave them, on the pod's side and on the node's, which answers.

use std::net::IpAddr;

use crate::topology::{
    GATEWAY4, GATEWAY6, HOST_LINK, OUTSIDE4, OUTSIDE6, POD_LINK, POD4, POD6, PREFIX4, PREFIX6,
};

/// Calico's gateway: nobody's address, for which the node's end answers by proxy ARP.
const CALICO_GATEWAY4: &str = "169.254.1.1";
/// What every host end of Calico's has, and the link-local address that follows from it: the gateway.
const CALICO_MAC: &str = "ee:ee:ee:ee:ee:ee";
const CALICO_GATEWAY6: &str = "fe80::ecee:eeff:feee:eeee";
/// A pod on another node, in the cluster's range.
const FAR_POD4: &str = "10.88.77.7";
/// In OpenShift's cluster range, on link.
const NEAR4: &str = "10.89.1.1";
/// A service, behind the gateway.
const SERVICE4: &str = "172.30.0.10";
/// The node in the second subnet.
const SECOND_GATEWAY4: &str = "172.20.0.1";

/// How addresses, gateway and prefix meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// The CNI plugin `ptp`: the gateway is a /32 on link, and the pod's own prefix lies behind it.
    #[default]
    Ptp,
    /// The CNI plugin `bridge`: the whole prefix is on link.
    Subnet,
    /// Calico: an address alone; the gateway is link-local in both families.
    Calico,
    /// Cilium: an address alone; the gateway is a host of its own on link.
    Cilium,
    /// Flannel, `bridge` with `host-local`: the node's prefix on link, the cluster's range behind the gateway.
    Flannel,
    /// OpenShift's SDN: the cluster's range and multicast on link, services behind the gateway.
    OpenShift,
    /// Static addresses without any route.
    NoRoutes,
    /// Static addresses with a route to one network, and no default.
    NoDefault,
    /// The whole prefix on link; the IPv6 gateway is a link-local address that follows from no MAC.
    LinkLocalGateway,
    /// Several addresses of one prefix and of others.
    SeveralAddresses,
}

/// What to run and to write, in this order.
pub(crate) struct Wiring {
    /// Sysctls of the node, below `net`.
    pub(crate) sysctls: Vec<(String, &'static str)>,
    /// Arguments of `ip` on the node.
    pub(crate) node: Vec<String>,
    /// Arguments of `ip` in the pod.
    pub(crate) pod: Vec<String>,
}

impl Layout {
    /// What the pod reaches of IPv4: addresses of the node that answer.
    pub fn targets4(self) -> Vec<IpAddr> {
        let more: &[&str] = match self {
            Self::Flannel => &[FAR_POD4],
            Self::OpenShift => &[NEAR4, SERVICE4],
            Self::SeveralAddresses => &[SECOND_GATEWAY4],
            _ => &[],
        };
        let gateway = (self != Self::Calico).then_some(IpAddr::V4(GATEWAY4));
        let outside = (self != Self::NoRoutes).then_some(IpAddr::V4(OUTSIDE4));
        let more = more.iter().filter_map(|address| address.parse().ok());
        gateway.into_iter().chain(outside).chain(more).collect()
    }

    /// What the pod reaches of IPv6: addresses of the node that answer.
    pub fn targets6(self) -> Vec<IpAddr> {
        let gateway =
            (!matches!(self, Self::Calico | Self::LinkLocalGateway)).then_some(IpAddr::V6(GATEWAY6));
        let outside = (self != Self::NoRoutes).then_some(IpAddr::V6(OUTSIDE6));
        gateway.into_iter().chain(outside).collect()
    }

    pub(crate) fn ipv4(self) -> Wiring {
        let mut wiring = Wiring::new();
        let (gateway, pod) = (GATEWAY4.to_string(), POD4.to_string());
        let default = format!("route add default via {gateway} dev {POD_LINK}");
        match self {
            Self::Ptp => wiring.ptp(&gateway, &pod, 32, PREFIX4, "10.88.0.0/24", ""),
            Self::Calico => {
                wiring.sysctl("ipv4/conf", "proxy_arp", "1");
                // The kernel would wait up to 0.8 s before it answers for somebody else.
                wiring.sysctl("ipv4/neigh", "proxy_delay", "0");
                wiring.node(&format!("link set {HOST_LINK} address {CALICO_MAC}"));
                // Proxy ARP answers for what the node would reach by another link.
                wiring.node("route replace 169.254.1.1/32 dev lo");
                wiring.node(&format!("route add {pod}/32 dev {HOST_LINK}"));
                wiring.pod(&format!("address add {pod}/32 dev {POD_LINK}"));
                wiring.pod(&format!("route add {CALICO_GATEWAY4} dev {POD_LINK} scope link"));
                wiring.pod(&format!("route add default via {CALICO_GATEWAY4} dev {POD_LINK}"));
            }
            Self::Cilium => {
                wiring.node(&format!("address add {gateway}/32 dev {HOST_LINK}"));
                wiring.node(&format!("route add {pod}/32 dev {HOST_LINK}"));
                wiring.pod(&format!("address add {pod}/32 dev {POD_LINK}"));
                wiring.pod(&format!("route add {gateway} dev {POD_LINK} scope link"));
                wiring.pod(&default);
            }
            Self::OpenShift => {
                wiring.subnet(&gateway, &pod, 23, "");
                wiring.node(&format!("address add {NEAR4}/32 dev lo"));
                wiring.node(&format!("address add {SERVICE4}/32 dev lo"));
                wiring.pod(&format!("route add 10.88.0.0/14 dev {POD_LINK}"));
                wiring.pod(&format!("route add 224.0.0.0/4 dev {POD_LINK}"));
                wiring.pod(&format!("route add 172.30.0.0/16 via {gateway} dev {POD_LINK}"));
                wiring.pod(&default);
            }
            _ => {
                wiring.subnet(&gateway, &pod, PREFIX4, "");
                match self {
                    Self::Flannel => {
                        wiring.node(&format!("address add {FAR_POD4}/32 dev lo"));
                        wiring.pod(&format!("route add 10.88.0.0/16 via {gateway} dev {POD_LINK}"));
                    }
                    Self::NoDefault => {
                        wiring.pod(&format!("route add 198.51.100.0/24 via {gateway} dev {POD_LINK}"))
                    }
                    Self::SeveralAddresses => {
                        wiring.node(&format!("address add {SECOND_GATEWAY4}/16 dev {HOST_LINK}"));
                        wiring.pod(&format!("address add 10.88.0.6/24 dev {POD_LINK}"));
                        wiring.pod(&format!("address add 172.20.0.5/16 dev {POD_LINK}"));
                    }
                    _ => {}
                }
                if !matches!(self, Self::NoRoutes | Self::NoDefault) {
                    wiring.pod(&default);
                }
            }
        }
        wiring
    }

    pub(crate) fn ipv6(self) -> Wiring {
        let mut wiring = Wiring::new();
        let (gateway, pod) = (GATEWAY6.to_string(), POD6.to_string());
        let default = |gateway: &str| format!("-6 route add default via {gateway} dev {POD_LINK}");
        match self {
            Self::Ptp => wiring.ptp(&gateway, &pod, 128, PREFIX6, "fd00:88::/64", "nodad"),
            Self::Calico => {
                wiring.node(&format!("link set {HOST_LINK} address {CALICO_MAC}"));
                wiring.node(&format!("address replace {CALICO_GATEWAY6}/64 dev {HOST_LINK} nodad"));
                wiring.node(&format!("route add {pod}/128 dev {HOST_LINK}"));
                wiring.pod(&format!("address add {pod}/128 dev {POD_LINK} nodad"));
                wiring.pod(&default(CALICO_GATEWAY6));
            }
            Self::Cilium => {
                wiring.node(&format!("address add {gateway}/128 dev {HOST_LINK} nodad"));
                wiring.node(&format!("route add {pod}/128 dev {HOST_LINK}"));
                wiring.pod(&format!("address add {pod}/128 dev {POD_LINK} nodad"));
                wiring.pod(&format!("-6 route add {gateway} dev {POD_LINK}"));
                wiring.pod(&default(&gateway));
            }
            Self::LinkLocalGateway => {
                wiring.subnet(&gateway, &pod, PREFIX6, "nodad");
                wiring.node(&format!("address add fe80::1/64 dev {HOST_LINK} nodad"));
                wiring.pod(&default("fe80::1"));
            }
            _ => {
                wiring.subnet(&gateway, &pod, PREFIX6, "nodad");
                match self {
                    Self::NoRoutes => {}
                    Self::NoDefault => {
                        wiring.pod(&format!("-6 route add 2001:db8:51::/48 via {gateway} dev {POD_LINK}"))
                    }
                    Self::SeveralAddresses => {
                        wiring.pod(&format!("address add fd00:88::6/64 dev {POD_LINK} nodad"));
                        wiring.pod(&default(&gateway));
                    }
                    _ => wiring.pod(&default(&gateway)),
                }
            }
        }
        wiring
    }
}

impl Wiring {
    fn new() -> Self {
        Self { sysctls: Vec::new(), node: Vec::new(), pod: Vec::new() }
    }

    fn sysctl(&mut self, folder: &str, name: &str, value: &'static str) {
        self.sysctls.push((format!("{folder}/{HOST_LINK}/{name}"), value));
    }

    fn node(&mut self, arguments: &str) {
        self.node.push(arguments.to_owned());
    }

    fn pod(&mut self, arguments: &str) {
        self.pod.push(arguments.to_owned());
    }

    fn ptp(&mut self, gateway: &str, pod: &str, host: u8, prefix: u8, subnet: &str, flags: &str) {
        self.node(&format!("address add {gateway}/{host} dev {HOST_LINK} {flags}"));
        self.node(&format!("route add {pod}/{host} dev {HOST_LINK}"));
        // The plugin replaces the connected route by one through the gateway.
        self.pod(&format!("address add {pod}/{prefix} dev {POD_LINK} noprefixroute {flags}"));
        self.pod(&format!("route add {gateway}/{host} dev {POD_LINK}"));
        self.pod(&format!("route add {subnet} via {gateway} dev {POD_LINK} src {pod}"));
        self.pod(&format!("route add default via {gateway} dev {POD_LINK}"));
    }

    fn subnet(&mut self, gateway: &str, pod: &str, prefix: u8, flags: &str) {
        self.node(&format!("address add {gateway}/{prefix} dev {HOST_LINK} {flags}"));
        self.pod(&format!("address add {pod}/{prefix} dev {POD_LINK} {flags}"));
    }
}
