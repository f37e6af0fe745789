// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest is told by router advertisements.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv6Net};
use netagent_common::address::Mac;

use super::SERVER_MAC;
use crate::{
    core::guest::{Guest, Router},
    dhcp::ra::Advert,
};

/// What each router of a guest says; nothing to one without an IPv6 address. Lifetimes are the lease's, unless the
/// guest has one of its own: what is told must outlive the agent as a lease does.
pub(in crate::dhcp) fn ra(guest: &Guest, lease_time: Duration) -> Vec<Advert> {
    if guest.ipv6().is_none() || guest.hand_off.off {
        return Vec::new();
    }
    let lease_time = guest.hand_off.lease_time(lease_time);
    let lifetime = u32::try_from(lease_time.as_secs()).unwrap_or(u32::MAX);
    let advert = |router: &Router| Advert {
        client: guest.mac,
        server_mac: SERVER_MAC,
        router: router.link_local,
        // RFC 8319, section 4: as long as the field can say.
        router_lifetime: if router.default { u16::try_from(lifetime).unwrap_or(u16::MAX) } else { 0 },
        managed: true,
        other: true,
        mtu: guest.mtu,
        lifetime,
        prefixes: on_link(guest),
        routes: router.routes.clone(),
        dns: guest.dns.servers.iter().filter_map(v6).collect(),
        search: guest.dns.search.clone(),
    };
    if guest.routers.is_empty() {
        // No router, but addresses, MTU and name servers.
        let link_local = Ipv6Addr::from(Mac::new(SERVER_MAC.0).link_local().octets());
        return vec![advert(&Router { link_local, default: false, routes: Vec::new() })];
    }
    guest.routers.iter().map(advert).collect()
}

/// What a router said of which no more is known than that it is gone: enough for its default route to be taken back.
pub(in crate::dhcp) fn gone_router(guest: &Guest, router: Ipv6Addr) -> Advert {
    Advert {
        client: guest.mac,
        server_mac: SERVER_MAC,
        router,
        router_lifetime: 0,
        managed: true,
        other: true,
        mtu: guest.mtu,
        lifetime: 0,
        prefixes: Vec::new(),
        routes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
    }
}

/// What the guest reaches without a router, each once. Single hosts, which are gateways most of all, only where no default
/// router leads to them: dhcpcd 9.4 takes a prefix of 128 bits for an address of its own.
fn on_link(guest: &Guest) -> Vec<Ipv6Net> {
    let has_default = guest.routers.iter().any(|router| router.default);
    let subnets = guest.addresses.iter().filter(|a| a.prefix_len() < 128);
    let routes = guest.routes.iter().filter(|r| r.gateway.is_none()).map(|r| &r.destination);
    let mut found: Vec<Ipv6Net> = Vec::new();
    for net in subnets.chain(routes) {
        if let IpNet::V6(net) = net
            && !net.addr().is_multicast()
            && (net.prefix_len() < 128 || !has_default)
            && !found.contains(&net.trunc())
        {
            found.push(net.trunc());
        }
    }
    found
}

fn v6(address: &IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(address) = address { Some(*address) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        hand_off::HandOff,
        ids::MacAddr,
        pod::{Dns, Route},
    };

    const DAY: Duration = Duration::from_secs(86_400);

    fn guest() -> Guest {
        let net = |net: &str| net.parse().unwrap();
        Guest {
            mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]),
            addresses: vec![net("10.0.0.2/24"), net("fd00:1::2/64"), net("fd00:2::2/128")],
            routes: [
                ("10.9.0.0/16", None),
                ("fd00:9::1/128", None),
                ("fd00:8::/64", Some("fd00:1::7")),
                ("::/0", Some("fd00:1::1")),
            ]
            .map(|(destination, gateway): (_, Option<&str>)| Route {
                destination: net(destination),
                gateway: gateway.map(|g| g.parse().unwrap()),
                metric: 0,
            })
            .to_vec(),
            dns: Dns {
                servers: vec!["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()],
                search: vec!["cluster.local".into()],
            },
            hostname: None,
            mtu: 1400,
            hand_off: HandOff::default(),
            routers: vec![
                Router { link_local: "fe80::1".parse().unwrap(), default: true, routes: Vec::new() },
                Router {
                    link_local: "fe80::7".parse().unwrap(),
                    default: false,
                    routes: vec!["fd00:8::/64".parse().unwrap()],
                },
            ],
        }
    }

    #[test]
    fn each_router_says_what_is_reached_through_it() {
        let adverts = ra(&guest(), DAY);
        let [default, other] = adverts.as_slice() else { panic!("{adverts:?}") };
        assert_eq!((default.router.to_string().as_str(), default.router_lifetime), ("fe80::1", 65_535));
        assert_eq!((other.router.to_string().as_str(), other.router_lifetime), ("fe80::7", 0));
        assert!(default.routes.is_empty());
        assert_eq!(other.routes, ["fd00:8::/64".parse().unwrap()]);
        for advert in &adverts {
            assert_eq!(advert.prefixes, ["fd00:1::/64".parse().unwrap()]);
            assert_eq!(advert.dns, ["fd00:96::a".parse::<Ipv6Addr>().unwrap()]);
            assert_eq!(advert.search, ["cluster.local"]);
            assert_eq!((advert.mtu, advert.lifetime), (1400, 86_400));
            assert!(advert.managed && advert.other);
            assert_eq!((advert.client, advert.server_mac), (guest().mac, SERVER_MAC));
        }
    }

    #[test]
    fn a_single_host_is_on_the_link_where_no_router_leads_to_it() {
        let mut guest = guest();
        guest.routers.retain(|router| !router.default);
        let both = ["fd00:1::/64", "fd00:9::1/128"].map(|p| p.parse().unwrap());
        assert_eq!(ra(&guest, DAY)[0].prefixes, both);
        guest.routers.clear();
        assert_eq!(ra(&guest, DAY)[0].prefixes, both);
    }

    #[test]
    fn lifetimes_are_the_lease_s() {
        let adverts = ra(&guest(), Duration::from_secs(600));
        assert_eq!((adverts[0].router_lifetime, adverts[0].lifetime), (600, 600));
        let mut guest = guest();
        guest.hand_off.lease_seconds = Some(90);
        assert_eq!(ra(&guest, DAY)[0].router_lifetime, 90);
        guest.hand_off.lease_seconds = Some(u32::MAX);
        assert_eq!((ra(&guest, DAY)[0].router_lifetime, ra(&guest, DAY)[0].lifetime), (65_535, u32::MAX));
    }

    #[test]
    fn without_a_router_the_server_itself_says_the_rest() {
        let mut guest = guest();
        guest.routers.clear();
        let adverts = ra(&guest, DAY);
        assert_eq!(adverts.len(), 1);
        assert_eq!(adverts[0].router.to_string(), "fe80::6e:61ff:fe00:1");
        assert_eq!((adverts[0].router_lifetime, adverts[0].lifetime), (0, 86_400));
        assert_eq!(adverts[0].prefixes.len(), 2);
    }

    #[test]
    fn a_guest_without_ipv6_hears_nothing() {
        let mut guest = guest();
        guest.addresses.truncate(1);
        assert_eq!(ra(&guest, DAY), []);
    }
}
