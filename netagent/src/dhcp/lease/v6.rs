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

/// The DHCPv6 lease of a guest, `None` for one without an IPv6 address.
pub(in crate::dhcp) fn v6(guest: &Guest, lease_time: Duration) -> Option<v6::Lease> {
    let addresses: Vec<Ipv6Addr> = guest
        .addresses
        .iter()
        .filter_map(|a| if let IpNet::V6(a) = a { Some(a.addr()) } else { None })
        .filter(|a| !a.is_unicast_link_local())
        .collect();
    if addresses.is_empty() {
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
        lease_time,
    })
}

fn ipv6(addresses: &[IpAddr]) -> Vec<Ipv6Addr> {
    addresses.iter().filter_map(|a| if let IpAddr::V6(a) = a { Some(*a) } else { None }).collect()
}
