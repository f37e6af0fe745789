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

/// The DHCPv4 lease of a guest, `None` for one without an IPv4 address. `lease_time` holds unless the port's own is
/// another.
pub(in crate::dhcp) fn v4(guest: &Guest, lease_time: Duration) -> Option<v4::Lease> {
    let address = guest.ipv4().filter(|_| !guest.hand_off.off)?;
    let gateway = guest.ipv4_gateway();
    let told = &guest.hand_off;
    let of_ipv4 = |servers: &[IpAddr]| {
        servers.iter().filter_map(|s| if let IpAddr::V4(s) = s { Some(*s) } else { None }).collect()
    };
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
        dns: of_ipv4(&guest.dns.servers),
        search: guest.dns.search.clone(),
        domain: told.domain.clone(),
        hostname: guest.hostname.clone(),
        mtu: u16::try_from(guest.mtu).unwrap_or(u16::MAX),
        ntp: of_ipv4(&told.ntp),
        tftp_server: told.tftp_server.clone(),
        boot_file: told.boot_file.clone(),
        private_options: told.private_options.clone(),
        lease_time: told.lease_time(lease_time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{desired::tests::facts, hand_off::HandOff, ids::MacAddr};

    #[test]
    fn what_is_laid_over_reaches_the_lease() {
        let hand_off = HandOff {
            off: false,
            dns: vec!["fd00::53".parse().unwrap(), "192.0.2.53".parse().unwrap()],
            search: vec!["lan".into()],
            domain: Some("example.org".into()),
            ntp: vec!["192.0.2.123".parse().unwrap(), "fd00::123".parse().unwrap()],
            mtu: Some(1400),
            tftp_server: Some("192.0.2.69".into()),
            boot_file: Some("boot.efi".into()),
            private_options: [(224, vec![1])].into(),
            lease_seconds: Some(300),
        };
        let of = |hand_off: &HandOff| {
            let guest = Guest::inherit(MacAddr([2, 0, 0, 0, 0, 1]), &facts(), hand_off);
            v4(&guest, Duration::from_secs(86_400)).unwrap()
        };
        let plain = of(&HandOff::default());
        assert_eq!(
            of(&hand_off),
            v4::Lease {
                dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
                search: vec!["lan".into()],
                domain: Some("example.org".into()),
                ntp: vec![Ipv4Addr::new(192, 0, 2, 123)],
                mtu: 1400,
                tftp_server: Some("192.0.2.69".into()),
                boot_file: Some("boot.efi".into()),
                private_options: [(224, vec![1])].into(),
                lease_time: Duration::from_secs(300),
                ..plain.clone()
            }
        );
        assert_eq!((plain.lease_time.as_secs(), plain.domain), (86_400, None));
    }
}
