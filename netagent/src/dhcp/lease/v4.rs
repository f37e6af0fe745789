// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest is told by DHCPv4.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;

use super::SERVER_MAC;
use crate::{core::guest::Guest, dhcp::v4};

/// Server identifier where the pod has no gateway. The guest cannot resolve it, so it renews by broadcast, at T2.
const SERVER_WITHOUT_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 75, 1);

/// The DHCPv4 lease of a guest, `None` for one without an IPv4 address.
pub(in crate::dhcp) fn v4(guest: &Guest, lease_time: Duration) -> Option<v4::Lease> {
    let address = guest.ipv4().filter(|_| !guest.hand_off.off)?;
    let gateway = guest.ipv4_gateway();
    Some(v4::Lease {
        client: guest.mac,
        server_mac: SERVER_MAC,
        // The gateway is the one address that every guest resolves: a renewal by unicast goes there, and the tap's
        // program takes it out of the stream by its port.
        server_id: gateway.unwrap_or(SERVER_WITHOUT_GATEWAY),
        address,
        gateway,
        routes: guest
            .routes
            .iter()
            .filter_map(|r| match (r.destination, r.gateway) {
                (IpNet::V4(destination), None) => Some(v4::Route { destination, gateway: None }),
                (IpNet::V4(destination), Some(IpAddr::V4(gateway))) => {
                    Some(v4::Route { destination, gateway: Some(gateway) })
                }
                _ => None,
            })
            .collect(),
        dns: guest
            .dns
            .servers
            .iter()
            .filter_map(|s| if let IpAddr::V4(s) = s { Some(*s) } else { None })
            .collect(),
        search: guest.dns.search.clone(),
        domain: None,
        hostname: guest.hostname.clone(),
        mtu: u16::try_from(guest.mtu).unwrap_or(u16::MAX),
        lease_time,
    })
}
