// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routes that leave by a link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia},
};

use super::{Netlink, NetlinkError};
use crate::core::pod::Route;

impl Netlink {
    /// Unicast routes of the main table that leave by the link, both families. Multipath routes are left out: a guest
    /// has one link.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn routes(&self, ifindex: u32) -> Result<Vec<Route>, NetlinkError> {
        let mut routes = Vec::new();
        for family in
            [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
        {
            let request = self.handle.route().get(family).execute();
            let messages: Vec<RouteMessage> =
                self.ask("list routes of link", &ifindex, request.try_collect()).await?;
            routes.extend(messages.iter().filter_map(|m| route(m, ifindex)));
        }
        Ok(routes)
    }
}

fn route(message: &RouteMessage, ifindex: u32) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut table = u32::from(message.header.table);
    let (mut destination, mut gateway, mut leaves_by, mut metric) = (None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(t) => table = *t,
            RouteAttribute::Destination(a) => destination = Some(address(a)?),
            RouteAttribute::Gateway(a) => gateway = Some(address(a)?),
            // An IPv4 route through an IPv6 gateway (RFC 9229) is nothing a DHCPv4 client could be told.
            RouteAttribute::Via(RouteVia::Inet6(_)) => return None,
            RouteAttribute::Oif(index) => leaves_by = Some(*index),
            RouteAttribute::Priority(p) => metric = *p,
            _ => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) || leaves_by != Some(ifindex) {
        return None;
    }
    let any = match message.header.address_family {
        rtnetlink::packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let destination =
        IpNet::new(destination.unwrap_or(any), message.header.destination_prefix_length).ok()?;
    // Each end of a link has its own link-local prefix already.
    if matches!(destination, IpNet::V6(d) if d.addr().is_unicast_link_local()) {
        return None;
    }
    Some(Route { destination, gateway, metric })
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}
