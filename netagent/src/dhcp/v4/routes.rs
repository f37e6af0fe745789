// SPDX-License-Identifier: MIT OR Apache-2.0
//! Classless static routes (RFC 3442): which of the pod's routes a guest is told, in which order, in which bytes.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

use super::lease::{Lease, Route};

/// See [`Lease::classless_routes`].
pub(super) fn classless(lease: &Lease) -> Vec<Route> {
    let prefix = lease.address.trunc();
    let mut routes: Vec<Route> = Vec::with_capacity(lease.routes.len().saturating_add(2));
    let mut known = HashSet::new();
    for route in &lease.routes {
        let route = Route {
            destination: route.destination.trunc(),
            // 0.0.0.0 is how the option itself writes "on the link".
            gateway: route.gateway.filter(|gateway| !gateway.is_unspecified()),
        };
        // The guest makes the route to its own prefix from the mask.
        let from_mask = route.destination == prefix && route.gateway.is_none();
        if !from_mask && known.insert(route.destination) {
            routes.push(route);
        }
    }
    let default_gateway = lease.gateway.filter(|gateway| !gateway.is_unspecified());
    if default_gateway.is_some() && !routes.iter().any(is_default) {
        routes.push(Route { destination: Ipv4Net::default(), gateway: default_gateway });
    }
    let gateways: BTreeSet<Ipv4Addr> = routes.iter().filter_map(|route| route.gateway).collect();
    for gateway in gateways {
        if !on_link(gateway, prefix, &routes) {
            // Takes the place of a route to the same host through somebody else, which could not be used anyhow.
            let destination = Ipv4Net::from(gateway);
            routes.retain(|route| route.destination != destination);
            routes.push(Route { destination, gateway: None });
        }
    }
    routes.sort_by_key(|route| {
        (is_default(route), route.gateway.is_some(), Reverse(route.destination.prefix_len()))
    });
    let told_by_option_3 = routes
        .iter()
        .all(|route| is_default(route) && route.gateway.is_some_and(|g| Some(g) == default_gateway));
    if told_by_option_3 { Vec::new() } else { routes }
}

/// The value of option 121, empty without routes: prefix length, the destination's significant octets, gateway.
pub(super) fn encode(routes: &[Route]) -> Vec<u8> {
    let mut out = Vec::new();
    for route in routes {
        let bits = route.destination.prefix_len();
        let significant = usize::from(bits).div_ceil(8);
        out.push(bits);
        out.extend(route.destination.trunc().addr().octets().iter().take(significant));
        out.extend(route.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    }
    out
}

/// Of a value of option 121, the bytes of as many whole routes as have a place in `space`; all of `space` when the first has
/// none.
pub(super) fn whole_within(value: &[u8], space: usize) -> usize {
    let mut end = 0usize;
    while let Some(bits) = value.get(end) {
        // Prefix length, significant octets, gateway.
        let next = end.saturating_add(usize::from(*bits).div_ceil(8)).saturating_add(5);
        if next > space {
            break;
        }
        end = next;
    }
    if end == 0 { space } else { end }
}

fn is_default(route: &Route) -> bool {
    route.destination.prefix_len() == 0
}

/// Whether a guest with these routes finds `gateway` on its link. A default route does not count: it comes last.
fn on_link(gateway: Ipv4Addr, prefix: Ipv4Net, routes: &[Route]) -> bool {
    prefix.contains(&gateway)
        || routes.iter().any(|route| {
            route.gateway.is_none() && !is_default(route) && route.destination.contains(&gateway)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::v4::tests::lease;

    fn option_121(address: &str, gateway: Option<&str>, routes: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut lease = lease();
        lease.address = address.parse().unwrap();
        lease.gateway = gateway.map(|g| g.parse().unwrap());
        lease.routes = routes
            .iter()
            .map(|(to, via)| Route {
                destination: to.parse().unwrap(),
                gateway: via.map(|v| v.parse().unwrap()),
            })
            .collect();
        encode(&lease.classless_routes())
    }

    #[test]
    fn calico_host_route_before_the_default_through_it() {
        let want = [32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1];
        let routes = [("0.0.0.0/0", Some("169.254.1.1")), ("169.254.1.1/32", None)];
        assert_eq!(option_121("10.244.1.7/32", Some("169.254.1.1"), &routes), want);
        // The same when the pod has `default via 169.254.1.1 onlink` and no host route, or only a gateway is known.
        assert_eq!(option_121("10.244.1.7/32", None, &routes[..1]), want);
        assert_eq!(option_121("10.244.1.7/32", Some("169.254.1.1"), &[]), want);
    }

    #[test]
    fn cilium_gateway_with_link_scope() {
        let routes = [("0.0.0.0/0", Some("10.0.1.213")), ("10.0.1.213/32", None)];
        assert_eq!(
            option_121("10.0.1.9/32", Some("10.0.1.213"), &routes),
            [32, 10, 0, 1, 213, 0, 0, 0, 0, 0, 10, 0, 1, 213]
        );
    }

    #[test]
    fn openshift_on_link_ranges_then_default_and_not_its_own_prefix() {
        let routes = [
            ("0.0.0.0/0", Some("10.129.0.1")),
            ("10.128.0.0/14", None),
            ("10.129.0.0/23", None),
            ("224.0.0.0/4", None),
        ];
        assert_eq!(
            option_121("10.129.0.17/23", Some("10.129.0.1"), &routes),
            [14, 10, 128, 0, 0, 0, 0, 4, 224, 0, 0, 0, 0, 0, 10, 129, 0, 1]
        );
    }

    #[test]
    fn flannel_pod_range_and_the_default_that_option_121_must_repeat() {
        let routes = [
            ("0.0.0.0/0", Some("10.244.0.1")),
            ("10.244.0.0/24", None),
            ("10.244.0.0/16", Some("10.244.0.1")),
        ];
        assert_eq!(
            option_121("10.244.0.5/24", Some("10.244.0.1"), &routes),
            [16, 10, 244, 10, 244, 0, 1, 0, 10, 244, 0, 1]
        );
    }

    #[test]
    fn nothing_when_mask_and_router_say_it_all() {
        let subnet = ("10.0.0.0/24", None);
        assert!(option_121("10.0.0.5/24", Some("10.0.0.1"), &[]).is_empty());
        assert!(option_121("10.0.0.5/24", Some("10.0.0.1"), &[subnet]).is_empty());
        assert!(
            option_121("10.0.0.5/24", Some("10.0.0.1"), &[("0.0.0.0/0", Some("10.0.0.1")), subnet])
                .is_empty()
        );
        assert!(option_121("10.0.0.5/24", None, &[subnet]).is_empty());
        assert!(option_121("10.0.0.5/32", None, &[("10.0.0.5/32", None)]).is_empty());
    }

    #[test]
    fn a_default_that_option_3_does_not_tell() {
        assert_eq!(option_121("10.0.0.5/24", None, &[("0.0.0.0/0", Some("10.0.0.1"))]), [0, 10, 0, 0, 1]);
        assert_eq!(option_121("10.0.0.5/32", None, &[("0.0.0.0/0", None)]), [0, 0, 0, 0, 0]);
        assert_eq!(
            option_121("10.0.0.5/24", Some("10.0.0.1"), &[("0.0.0.0/0", Some("10.0.0.9"))]),
            [0, 10, 0, 0, 9]
        );
    }

    #[test]
    fn best_of_equal_destinations_and_host_bits_cut() {
        let routes = [
            ("10.9.1.7/16", Some("10.0.0.2")),
            ("10.9.0.0/16", Some("10.0.0.3")),
            ("10.8.0.0/16", Some("0.0.0.0")),
        ];
        assert_eq!(option_121("10.0.0.5/24", None, &routes), [16, 10, 8, 0, 0, 0, 0, 16, 10, 9, 10, 0, 0, 2]);
    }

    #[test]
    fn a_gateway_behind_a_gateway_is_put_on_the_link() {
        let routes = [("192.0.2.1/32", Some("10.0.0.1")), ("198.51.100.0/24", Some("192.0.2.1"))];
        assert_eq!(
            option_121("10.0.0.5/24", None, &routes),
            [32, 192, 0, 2, 1, 0, 0, 0, 0, 24, 198, 51, 100, 192, 0, 2, 1]
        );
    }

    /// The table of RFC 3442, "Classless Route Option Format".
    #[test]
    fn rfc_3442_destination_descriptors() {
        let cases: [(&str, &[u8]); 8] = [
            ("0.0.0.0/0", &[0]),
            ("10.0.0.0/8", &[8, 10]),
            ("10.0.0.0/24", &[24, 10, 0, 0]),
            ("10.17.0.0/16", &[16, 10, 17]),
            ("10.27.129.0/24", &[24, 10, 27, 129]),
            ("10.229.0.128/25", &[25, 10, 229, 0, 128]),
            ("10.198.122.47/32", &[32, 10, 198, 122, 47]),
            ("128.0.0.0/1", &[1, 128]),
        ];
        for (destination, descriptor) in cases {
            let route = Route {
                destination: destination.parse().unwrap(),
                gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
            };
            assert_eq!(encode(&[route]), [descriptor, &[192, 0, 2, 1]].concat(), "{destination}");
        }
    }
}
