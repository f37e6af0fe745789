// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest is told by DHCPv6.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use ipnet::IpNet;
use netagent_common::address::Mac;

use super::SERVER_MAC;
use crate::{core::guest::Guest, dhcp::v6};

/// The DHCPv6 lease of a guest, `None` for one without an IPv6 address. `lease_time` holds unless the port has its own.
pub(in crate::dhcp) fn v6(guest: &Guest, lease_time: Duration) -> Option<v6::Lease> {
    let addresses: Vec<Ipv6Addr> = guest
        .addresses
        .iter()
        .filter_map(|a| if let IpNet::V6(a) = a { Some(a.addr()) } else { None })
        .filter(|a| !a.is_unicast_link_local())
        .collect();
    if addresses.is_empty() || guest.hand_off.off {
        return None;
    }
    Some(v6::Lease {
        client: guest.mac,
        server_mac: SERVER_MAC,
        server_address: Mac::new(SERVER_MAC.0).link_local().octets().into(),
        addresses,
        dns: ipv6(&guest.dns.servers),
        search: guest.dns.search.clone(),
        ntp: ipv6(&guest.hand_off.ntp),
        mtu: u16::try_from(guest.mtu).unwrap_or(u16::MAX),
        lease_time: guest.hand_off.lease_time(lease_time),
    })
}

fn ipv6(addresses: &[IpAddr]) -> Vec<Ipv6Addr> {
    addresses.iter().filter_map(|a| if let IpAddr::V6(a) = a { Some(*a) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{hand_off::HandOff, ids::MacAddr, pod::Dns};

    fn guest(addresses: &[&str]) -> Guest {
        let all = |texts: &[&str]| texts.iter().map(|a| a.parse().unwrap()).collect();
        Guest {
            mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            routes: Vec::new(),
            dns: Dns { servers: all(&["10.96.0.10", "fd00::a"]), search: vec!["lan".into()] },
            hostname: None,
            mtu: 70_000,
            hand_off: HandOff { ntp: all(&["192.0.2.1", "2001:db8::1"]), ..HandOff::default() },
            routers: Vec::new(),
        }
    }

    #[test]
    fn all_global_addresses_and_what_else_is_ipv6() {
        let guest = guest(&["10.0.0.2/24", "2001:db8::2/64", "fe80::2/64", "fd00::2/128"]);
        let lease = v6(&guest, Duration::from_secs(60)).unwrap();
        let all = |texts: &[&str]| texts.iter().map(|a| a.parse().unwrap()).collect::<Vec<Ipv6Addr>>();
        assert_eq!(lease.addresses, all(&["2001:db8::2", "fd00::2"]));
        assert_eq!((lease.dns, lease.ntp), (all(&["fd00::a"]), all(&["2001:db8::1"])));
        assert_eq!((lease.client, lease.mtu), (guest.mac, u16::MAX));
        assert_eq!(lease.server_address.to_string(), "fe80::6e:61ff:fe00:1");
        assert_eq!((lease.search, lease.lease_time), (vec!["lan".to_owned()], Duration::from_secs(60)));
    }

    #[test]
    fn no_lease_without_a_global_address() {
        for addresses in [&[][..], &["10.0.0.2/24"], &["fe80::2/64"]] {
            assert_eq!(v6(&guest(addresses), Duration::from_secs(60)), None, "{addresses:?}");
        }
    }
}
