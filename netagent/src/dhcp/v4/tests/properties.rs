// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any frame and any lease.

use std::{net::Ipv4Addr, time::Duration};

use ipnet::Ipv4Net;
use proptest::{
    collection::{btree_map, vec},
    option as maybe,
    prelude::*,
};

use super::{Client, GUEST, Lease, Outcome, Read, SERVER, Silence, ZERO, answer, lease, option, wrap};
use crate::{core::ids::MacAddr, dhcp::v4::Route};

fn ip() -> impl Strategy<Value = Ipv4Addr> {
    // Few values, so that gateways, prefixes and routes meet.
    prop_oneof![
        any::<u32>().prop_map(Ipv4Addr::from),
        (0u8..3, 0u8..4).prop_map(|(c, d)| Ipv4Addr::new(10, 0, c, d)),
    ]
}

fn net() -> impl Strategy<Value = Ipv4Net> {
    (ip(), prop_oneof![0u8..=32, Just(0), Just(24), Just(32)]).prop_map(|(a, p)| Ipv4Net::new(a, p).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,70}(\\.[a-z]{1,9}){0,30}\\.?", any::<String>()]
}

prop_compose! {
    fn any_lease()(
        address in net(),
        gateway in maybe::of(ip()),
        routes in vec((net(), maybe::of(ip())), 0..40),
        dns in vec(ip(), 0..80),
        search in vec(name(), 0..40),
        domain in maybe::of(name()),
        hostname in maybe::of(name()),
        mtu in prop_oneof![any::<u16>(), 500u16..1500],
        secs in any::<u64>(),
        (ntp, tftp_server, boot_file) in (vec(ip(), 0..9), maybe::of(name()), maybe::of("[ -~]{1,255}")),
        private_options in btree_map(any::<u8>(), vec(any::<u8>(), 0..600), 0..4),
    ) -> Lease {
        let routes = routes.into_iter().map(|(destination, gateway)| Route { destination, gateway }).collect();
        let lease_time = Duration::from_secs(secs);
        let tftp_server = tftp_server.map(|name: String| name.replace('\0', ""));
        let lease =
            Lease { address, gateway, routes, dns, search, domain, hostname, mtu, lease_time, ..lease() };
        Lease { ntp, tftp_server, boot_file, private_options, ..lease }
    }
}

prop_compose! {
    /// A client that is sane outside its options and knows the codes that matter, and its message size.
    fn any_client()(
        kind in 1u8..=8,
        flags in any::<u16>(),
        ciaddr in prop_oneof![Just(ZERO), ip()],
        server in maybe::of(prop_oneof![Just(SERVER), ip()]),
        list in maybe::of(vec(prop_oneof![any::<u8>(), Just(3), Just(121), Just(249), Just(119)], 1..30)),
        size in maybe::of(any::<u16>()),
        other in vec((prop_oneof![any::<u8>(), Just(61), Just(50), Just(52)], vec(any::<u8>(), 0..256)), 0..4),
    ) -> (Client, Option<u16>) {
        let mut options = Vec::new();
        options.extend(server.map(|s| option(54, &s.octets())));
        options.extend(list.map(|l| option(55, &l)));
        options.extend(size.map(|s| option(57, &s.to_be_bytes())));
        options.extend(other.iter().filter(|(code, _)| *code != 57).map(|(code, value)| option(*code, value)));
        let options: Vec<&[u8]> = options.iter().map(Vec::as_slice).collect();
        (Client { flags, ciaddr, ..Client::sends(kind, &options) }, size)
    }
}

/// Checks a reply, if it is one: [`Read::of`] refuses what an outsider would.
fn check(lease: &Lease, frame: &[u8]) -> Result<(), TestCaseError> {
    if let Outcome::Reply(reply) = answer(lease, frame) {
        let limit = 14 + usize::from(lease.mtu.max(576));
        prop_assert!(reply.frame.len() <= limit, "{} > {limit}", reply.frame.len());
        let to_guest = reply.frame[..6] == GUEST.0 || reply.frame[..6] == [0xff; 6];
        prop_assert!(to_guest);
        Read::of(reply);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes(frame in vec(any::<u8>(), 0..700)) {
        check(&lease(), &frame)?;
    }

    #[test]
    fn any_message(message in vec(any::<u8>(), 0..1600)) {
        check(&lease(), &wrap(ZERO, Ipv4Addr::BROADCAST, 67, &message))?;
    }

    #[test]
    fn any_options(kind in 1u8..=8, options in vec(any::<u8>(), 0..1200)) {
        check(&lease(), &Client::sends(kind, &[&options]).frame())?;
    }

    #[test]
    fn mutated_frames(
        (client, _) in any_client(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut frame = client.frame();
        for (at, value) in flips {
            *at.get_mut(&mut frame) = value;
        }
        if cuts {
            frame.truncate(cut.index(frame.len()));
        }
        check(&lease(), &frame)?;
    }

    #[test]
    fn mutated_messages((client, _) in any_client(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut message = client.message();
        for (at, value) in flips {
            *at.get_mut(&mut message) = value;
        }
        check(&lease(), &wrap(ZERO, Ipv4Addr::BROADCAST, 67, &message))?;
    }

    #[test]
    fn any_lease_to_any_client(lease in any_lease(), (client, size) in any_client()) {
        check(&lease, &client.frame())?;
        if let Outcome::Reply(reply) = client.asks(&lease) {
            prop_assert!(reply.frame.len() <= 14 + usize::from(size.unwrap_or(576).max(576)));
        }
    }

    #[test]
    fn only_the_leases_client((client, _) in any_client(), mac in any::<[u8; 6]>()) {
        prop_assume!(mac != GUEST.0);
        let client = Client { chaddr: MacAddr(mac), ..client };
        prop_assert_eq!(client.asks(&lease()), Outcome::Silent(Silence::OtherClient));
    }

    #[test]
    fn a_discover_is_always_offered_the_address(lease in any_lease(), flags in any::<u16>()) {
        let client = Client { flags, ..Client::sends(1, &[]) };
        let got = client.is_replied(&lease);
        prop_assert_eq!(got.message.yiaddr(), lease.address.addr());
    }

    /// A guest that installs the routes one by one has each gateway on its link before it needs it.
    #[test]
    fn routes_can_be_installed_in_order(lease in any_lease()) {
        let routes = lease.classless_routes();
        let prefix = lease.address.trunc();
        let mut on_link = vec![prefix];
        for (place, route) in routes.iter().enumerate() {
            match route.gateway {
                None => on_link.push(route.destination),
                Some(gateway) => prop_assert!(on_link.iter().any(|net| net.contains(&gateway)), "{gateway}"),
            }
            if route.destination.prefix_len() == 0 {
                prop_assert_eq!(place, routes.len() - 1);
            }
            prop_assert!(!routes[..place].iter().any(|r| r.destination == route.destination));
        }
        // Nothing that the pod reaches is lost.
        for route in lease.routes.iter().filter(|_| !routes.is_empty()) {
            let destination = route.destination.trunc();
            prop_assert!(destination == prefix || routes.iter().any(|r| r.destination == destination));
        }
        let has_default = routes.iter().any(|r| r.destination.prefix_len() == 0);
        let gateway = lease.gateway.filter(|g| !g.is_unspecified());
        prop_assert!(routes.is_empty() || has_default || gateway.is_none());
    }
}
