// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest is told: the pod's network, in the shape that DHCP and router advertisements need.

use std::{
    cmp::Reverse,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    hand_off::HandOff,
    ids::MacAddr,
    pod::{Dns, PodFacts, Route},
};

/// The guest's network configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The only client that is served.
    pub mac: MacAddr,
    /// The pod's addresses, which become the guest's. A prefix that the pod does not have on its link is shortened to
    /// the address alone: what lies in it is reached by routes.
    pub addresses: Vec<IpNet>,
    /// Routes in an order in which each can be added: on-link first, the default last.
    pub routes: Vec<Route>,
    /// Name servers and search list.
    pub dns: Dns,
    /// Host name.
    pub hostname: Option<String>,
    /// MTU in bytes.
    pub mtu: u32,
    /// What else it is told; of this, `dns`, `search` and `mtu` have found their way into the fields above.
    pub hand_off: HandOff,
    /// IPv6 routers to advertise, the one of the default route first.
    pub routers: Vec<Router>,
}

/// A next hop of the pod's IPv6 routes, by the link-local address from which a router advertisement makes it one of the
/// guest's (RFC 4861, section 6.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The router's link-local address, which it answers for itself.
    pub link_local: Ipv6Addr,
    /// Whether it is the default router.
    pub default: bool,
    /// More specific routes through it (RFC 4191).
    pub routes: Vec<Ipv6Net>,
}

impl Guest {
    /// What a guest with this MAC inherits from the pod.
    pub fn inherit(mac: MacAddr, facts: &PodFacts, hand_off: &HandOff) -> Self {
        Self {
            mac,
            addresses: facts.addresses.iter().map(|a| reachable(*a, &facts.routes)).collect(),
            routes: usable_routes(&facts.addresses, &facts.routes),
            dns: facts.dns.clone(),
            hostname: facts.hostname.clone(),
            mtu: facts.link.mtu,
            hand_off: hand_off.clone(),
            routers: Vec::new(),
        }
    }

    /// The first IPv4 address: DHCPv4 has room for one.
    pub fn ipv4(&self) -> Option<Ipv4Net> {
        self.addresses.iter().find_map(|a| if let IpNet::V4(a) = a { Some(*a) } else { None })
    }

    /// The first IPv6 address.
    pub fn ipv6(&self) -> Option<Ipv6Net> {
        self.addresses.iter().find_map(|a| if let IpNet::V6(a) = a { Some(*a) } else { None })
    }

    /// The IPv6 default route's gateway.
    pub fn ipv6_gateway(&self) -> Option<Ipv6Addr> {
        self.routes.iter().find_map(|r| match (r.destination, r.gateway) {
            (IpNet::V6(d), Some(std::net::IpAddr::V6(g))) if d.prefix_len() == 0 => Some(g),
            _ => None,
        })
    }

    /// The IPv4 default route's gateway.
    pub fn ipv4_gateway(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find_map(|r| match (r.destination, r.gateway) {
            (IpNet::V4(d), Some(std::net::IpAddr::V4(g))) if d.prefix_len() == 0 => Some(g),
            _ => None,
        })
    }
}

/// The address with its prefix when that is on the link, as the CNI plugin bridge has it; with a full-length one when
/// it lies behind the gateway, as ptp has it. A guest that takes a prefix for on-link asks for its neighbours by ARP,
/// and nobody answers.
fn reachable(address: IpNet, routes: &[Route]) -> IpNet {
    if routes.iter().any(|r| r.gateway.is_none() && r.destination == address.trunc()) {
        address
    } else {
        address.addr().into()
    }
}

/// The best route to each destination, without the subnets that the addresses imply, sorted so that a gateway's own
/// route comes before the routes that use it. Of IPv4 the guest gets the first address: the others imply nothing to it.
fn usable_routes(addresses: &[IpNet], routes: &[Route]) -> Vec<Route> {
    let ipv4 = addresses.iter().find(|a| matches!(a, IpNet::V4(_)));
    let told = |a: &IpNet| matches!(a, IpNet::V6(_)) || Some(a) == ipv4;
    let implied =
        |r: &Route| r.gateway.is_none() && addresses.iter().any(|a| told(a) && a.trunc() == r.destination);
    let mut usable: Vec<Route> = routes.iter().filter(|r| !implied(r)).copied().collect();
    usable.sort_by_key(|r| (r.destination, r.metric));
    usable.dedup_by_key(|r| r.destination);
    usable.sort_by_key(|r| (r.gateway.is_some(), Reverse(r.destination.prefix_len()), r.destination));
    usable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::desired::tests::facts;

    fn route(destination: &str, gateway: Option<&str>, metric: u32) -> Route {
        Route {
            destination: destination.parse().unwrap(),
            gateway: gateway.map(|g| g.parse().unwrap()),
            metric,
        }
    }

    fn guest(addresses: &[&str], routes: &[Route]) -> Guest {
        let mut facts = facts();
        facts.addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        facts.routes = routes.to_vec();
        Guest::inherit(MacAddr([2, 0, 0, 0, 0, 1]), &facts, &HandOff::default())
    }

    #[test]
    fn calico_s_link_local_gateway_comes_before_the_default() {
        let default = route("0.0.0.0/0", Some("169.254.1.1"), 0);
        let on_link = route("169.254.1.1/32", None, 0);
        let guest = guest(&["10.1.2.3/32"], &[default, on_link]);
        assert_eq!(guest.routes, [on_link, default]);
        assert_eq!(guest.ipv4_gateway().unwrap().to_string(), "169.254.1.1");
    }

    #[test]
    fn the_subnet_s_own_route_is_implied_by_the_address() {
        let default = route("0.0.0.0/0", Some("10.244.0.1"), 0);
        let pods = route("10.244.0.0/16", Some("10.244.0.1"), 0);
        let guest = guest(&["10.244.0.9/24"], &[default, route("10.244.0.0/24", None, 0), pods]);
        assert_eq!(guest.routes, [pods, default]);
    }

    #[test]
    fn a_prefix_behind_the_gateway_is_not_on_the_link() {
        let gateway = route("10.88.0.1/32", None, 0);
        let subnet = route("10.88.0.0/24", Some("10.88.0.1"), 0);
        let default = route("0.0.0.0/0", Some("10.88.0.1"), 0);
        let ptp = guest(&["10.88.0.5/24"], &[default, subnet, gateway]);
        assert_eq!(ptp.addresses, ["10.88.0.5/32".parse().unwrap()]);
        assert_eq!(ptp.routes, [gateway, subnet, default]);

        let bridge = guest(&["10.88.0.5/24"], &[default, route("10.88.0.0/24", None, 0)]);
        assert_eq!(bridge.addresses, ["10.88.0.5/24".parse().unwrap()]);
        assert_eq!(bridge.routes, [default]);
    }

    #[test]
    fn of_two_defaults_the_lower_metric_wins() {
        let slow = route("0.0.0.0/0", Some("10.0.0.2"), 200);
        let fast = route("0.0.0.0/0", Some("10.0.0.1"), 100);
        assert_eq!(guest(&["10.0.0.9/24"], &[slow, fast]).routes, [fast]);
        let on_link = route("0.0.0.0/0", None, 1000);
        assert_eq!(guest(&["10.0.0.9/24"], &[on_link, fast]).routes, [fast]);
    }

    #[test]
    fn the_subnet_of_an_address_that_the_guest_does_not_get_is_a_route() {
        let first = route("10.0.0.0/24", None, 0);
        let second = route("172.20.0.0/16", None, 0);
        let guest = guest(&["10.0.0.9/24", "172.20.0.9/16"], &[first, second]);
        assert_eq!(guest.routes, [second]);
    }

    #[test]
    fn no_routes_is_not_an_error() {
        let guest = guest(&["10.0.0.9/24"], &[]);
        assert_eq!((guest.routes.len(), guest.ipv4_gateway()), (0, None));
    }
}
