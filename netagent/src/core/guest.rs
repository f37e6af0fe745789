// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest is told: the pod's network, in the shape that DHCP and router advertisements need.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netagent_common::{address::Mac, maps};

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
    /// MTU in bytes, which may be less than the pod link's.
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
        let has_ipv6 = facts.addresses.iter().any(|a| matches!(a, IpNet::V6(_)));
        let instead = |dns: &Dns| Dns {
            servers: if hand_off.dns.is_empty() { &dns.servers } else { &hand_off.dns }.clone(),
            search: if hand_off.search.is_empty() { &dns.search } else { &hand_off.search }.clone(),
        };
        let routes = usable_routes(&facts.addresses, &facts.routes);
        Self {
            mac,
            addresses: facts.addresses.iter().map(|a| reachable(*a, &facts.routes)).collect(),
            routers: routers(&routes, facts),
            routes,
            dns: instead(&facts.dns),
            hostname: facts.hostname.clone(),
            mtu: hand_off.mtu_on(facts.link.mtu, has_ipv6),
            hand_off: hand_off.clone(),
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

/// The routers of these routes, the default one first; without those of which only a global address is known.
fn routers(routes: &[Route], facts: &PodFacts) -> Vec<Router> {
    let mut routers: Vec<Router> = Vec::new();
    // The default route comes last.
    for (destination, gateway) in through_gateways(routes).rev() {
        let Some(link_local) = link_local(gateway, facts) else { continue };
        let at = routers.iter().position(|router| router.link_local == link_local).unwrap_or(routers.len());
        if at == routers.len() {
            routers.push(Router { link_local, default: false, routes: Vec::new() });
        }
        if destination.prefix_len() == 0 {
            routers[at].default = true;
        } else {
            routers[at].routes.push(destination);
        }
    }
    routers
}

/// IPv6 routes that go through a gateway, with it.
fn through_gateways(routes: &[Route]) -> impl DoubleEndedIterator<Item = (Ipv6Net, Ipv6Addr)> {
    routes.iter().filter_map(|route| match (route.destination, route.gateway) {
        (IpNet::V6(destination), Some(IpAddr::V6(gateway))) => Some((destination, gateway)),
        _ => None,
    })
}

/// The link-local address of a gateway: its own when it is one, else what was found.
fn link_local(gateway: Ipv6Addr, facts: &PodFacts) -> Option<Ipv6Addr> {
    if gateway.is_unicast_link_local() { Some(gateway) } else { facts.routers.get(&gateway).copied() }
}

/// Gateways that the pod knows by global addresses: of these the link-local ones are to be found.
pub fn global_gateways(facts: &PodFacts) -> BTreeSet<Ipv6Addr> {
    let routes = usable_routes(&facts.addresses, &facts.routes);
    through_gateways(&routes).map(|(_, gateway)| gateway).filter(|g| !g.is_unicast_link_local()).collect()
}

/// Those of them that no router advertisement can name. None for a guest without an IPv6 address.
pub fn unknown_gateways(facts: &PodFacts) -> BTreeSet<Ipv6Addr> {
    if !facts.addresses.iter().any(|a| matches!(a, IpNet::V6(_))) {
        return BTreeSet::new();
    }
    global_gateways(facts).into_iter().filter(|gateway| !facts.routers.contains_key(gateway)).collect()
}

/// Fills in the one gateway that is not found from the entry that an earlier agent wrote for this pod link: the one
/// address in it that is nobody else's was its router's.
pub fn recall(facts: &mut PodFacts, entry: &maps::Port) {
    let link = &facts.link;
    let same_link =
        entry.pod_ifindex == link.ifindex && Some(entry.pod_mac) == link.mac.map(|m| Mac::new(m.0));
    let unknown: Vec<Ipv6Addr> = unknown_gateways(facts).into_iter().collect();
    let [gateway] = unknown.as_slice() else { return };
    let known = routers(&usable_routes(&facts.addresses, &facts.routes), facts);
    let written = entry.ipv6_neighbours.iter().filter(|hop| hop.is_link_local());
    let left: Vec<Ipv6Addr> = written
        .map(|hop| Ipv6Addr::from(hop.octets()))
        .filter(|hop| !known.iter().any(|router| router.link_local == *hop))
        .collect();
    if let ([router], true) = (left.as_slice(), same_link) {
        facts.routers.insert(*gateway, *router);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{desired::tests::facts, hand_off::HandOff};

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

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// Facts of a pod with two global gateways, of which one is found, and a link-local one.
    fn routed() -> PodFacts {
        let mut facts = facts();
        facts.addresses = vec!["10.0.0.9/24".parse().unwrap(), "fd00::9/64".parse().unwrap()];
        facts.routes = vec![
            route("0.0.0.0/0", Some("10.0.0.1"), 0),
            route("fd00::/64", None, 0),
            route("fd01::/64", Some("fd00::1"), 0),
            route("fd02::/64", Some("fe80::2"), 0),
            route("fd03::/64", Some("fd00::3"), 0),
            route("fd04::/64", Some("fe80::2"), 0),
            route("::/0", Some("fd00::1"), 0),
            route("::/0", Some("fe80::2"), 1024),
        ];
        facts.routers.insert(ip("fd00::1"), ip("fe80::1"));
        facts
    }

    fn inherit(facts: &PodFacts) -> Guest {
        Guest::inherit(MacAddr([2, 0, 0, 0, 0, 1]), facts, &HandOff::default())
    }

    #[test]
    fn routers_are_link_local_and_the_default_one_comes_first() {
        let routers = inherit(&routed()).routers;
        let [default, other] = routers.as_slice() else { panic!("{routers:?}") };
        assert_eq!((default.link_local, default.default), (ip("fe80::1"), true));
        assert_eq!(default.routes, ["fd01::/64".parse().unwrap()]);
        assert_eq!((other.link_local, other.default), (ip("fe80::2"), false));
        let mut routes = other.routes.clone();
        routes.sort();
        assert_eq!(routes, ["fd02::/64", "fd04::/64"].map(|r| r.parse().unwrap()));
    }

    #[test]
    fn two_gateways_may_be_one_router() {
        let mut facts = routed();
        facts.routers.insert(ip("fd00::3"), ip("fe80::1"));
        let routers = inherit(&facts).routers;
        assert_eq!(routers.len(), 2);
        assert_eq!(routers[0].routes.len(), 2);
    }

    #[test]
    fn gateways_that_are_not_found_are_known_by_name() {
        let mut facts = routed();
        assert_eq!(global_gateways(&facts), BTreeSet::from([ip("fd00::1"), ip("fd00::3")]));
        assert_eq!(unknown_gateways(&facts), BTreeSet::from([ip("fd00::3")]));
        // No IPv6, no advertisements, nothing to miss.
        facts.addresses.truncate(1);
        assert_eq!(unknown_gateways(&facts), BTreeSet::new());
    }

    #[test]
    fn what_an_earlier_agent_found_is_recalled_when_it_is_beyond_doubt() {
        let mut facts = routed();
        let mut entry: maps::Port = bytemuck::Zeroable::zeroed();
        entry.pod_ifindex = facts.link.ifindex;
        entry.pod_mac = Mac::new(facts.link.mac.unwrap().0);
        let hops = |hops: &[&str]| {
            let mut all = [netagent_common::address::V6::UNSPECIFIED; 4];
            for (place, hop) in all.iter_mut().zip(hops) {
                *place = netagent_common::address::V6::new(ip(hop).octets());
            }
            all
        };
        let recalled = |facts: &PodFacts, entry: &maps::Port| {
            let mut facts = facts.clone();
            recall(&mut facts, entry);
            facts.routers.get(&ip("fd00::3")).copied()
        };
        entry.ipv6_neighbours = hops(&["fe80::1", "fe80::2", "fe80::3"]);
        assert_eq!(recalled(&facts, &entry), Some(ip("fe80::3")));
        entry.ipv6_neighbours = hops(&["fe80::1", "fe80::2", "fe80::3", "fe80::4"]);
        assert_eq!(recalled(&facts, &entry), None);
        entry.ipv6_neighbours = hops(&["fe80::1", "fe80::2"]);
        assert_eq!(recalled(&facts, &entry), None);
        entry.ipv6_neighbours = hops(&["fe80::1", "fe80::2", "fe80::3"]);
        entry.pod_ifindex += 1;
        assert_eq!(recalled(&facts, &entry), None);
        entry.pod_ifindex -= 1;
        facts.routers.clear();
        assert_eq!(recalled(&facts, &entry), None, "two are missing");
    }

    #[test]
    fn what_is_laid_over_takes_the_place_of_the_pod_s_word_and_leaves_the_rest() {
        let facts = facts();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let hand_off = HandOff {
            dns: vec!["192.0.2.53".parse().unwrap()],
            mtu: Some(1400),
            lease_seconds: Some(300),
            ..HandOff::default()
        };
        let guest = Guest::inherit(mac, &facts, &hand_off);
        assert_eq!(guest.dns, Dns { servers: hand_off.dns.clone(), search: facts.dns.search.clone() });
        assert_eq!((guest.mtu, guest.hostname.as_deref()), (1400, Some("vm")));
        assert_eq!(guest.hand_off, hand_off);
        let search = HandOff { search: vec!["lan".into()], ..HandOff::default() };
        let guest = Guest::inherit(mac, &facts, &search);
        assert_eq!(guest.dns, Dns { servers: facts.dns.servers.clone(), search: vec!["lan".into()] });
        assert_eq!(guest.mtu, facts.link.mtu);
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
