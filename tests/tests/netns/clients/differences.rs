// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pod and guest side by side: addresses, routes and MTU of both kernels, names and name servers of both systems.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;
use netagent_tests::{
    client::Client,
    configured::{Configured, Family, Hop, inside, way_to},
    netns::Netns,
    resolver::Resolver,
    stand_in::GUEST_LINK,
    topology::{HOST_LINK, Layout, POD_LINK, Topology},
};

use super::case::Case;
use crate::scene::HOSTNAME;

/// In which ways the guest is not configured as its pod. Empty: it has all that the pod has.
pub(crate) fn differences(case: &Case) -> Result<Vec<String>> {
    let spec = &case.topology.spec;
    let mut found = Vec::new();
    if spec.ipv4 {
        ipv4(case, &mut found)?;
    }
    if spec.ipv6 {
        ipv6(case, &mut found)?;
    }
    names(case, &mut found)?;
    Ok(found)
}

fn both(case: &Case, family: Family) -> Result<(Configured, Configured)> {
    let pod = Configured::read(&case.topology.pod, POD_LINK, family)?;
    Ok((pod, Configured::read(&case.guest.guest, GUEST_LINK, family)?))
}

fn ipv4(case: &Case, found: &mut Vec<String>) -> Result<()> {
    let (pod, guest) = both(case, Family::V4)?;
    // DHCPv4 has room for one.
    let first: Vec<IpAddr> = pod.addresses.iter().take(1).copied().collect();
    unequal(found, "IPv4 addresses", &first, &guest.addresses);
    unequal(found, "MTU", &pod.mtu, &guest.mtu);
    for (destination, hop) in &pod.routes {
        if guest.routes.get(destination) != Some(hop) && !becomes_host_route(case, destination, *hop, &guest)
        {
            let has = guest.routes.get(destination).map_or("none".to_owned(), Hop::to_string);
            found.push(format!("route {destination}: pod {hop}, guest {has}"));
        }
    }
    let told = Resolver::parse(&case.topology.spec.resolv_conf).servers;
    // More routes do no harm that lead where the pod's own lead.
    for destination in guest.routes.keys().filter(|to| !pod.routes.contains_key(*to)) {
        let address = inside(destination, &pod.addresses)?;
        let (of_pod, of_guest) = (way_to(&case.topology.pod, address)?, way_to(&case.guest.guest, address)?);
        // Nor does one to a name server that nobody reaches (systemd.network, RoutesToDNS=).
        let to_dns = of_pod.is_none() && told.contains(&address);
        if of_pod != of_guest && !to_dns {
            found.push(format!("route {destination} of the guest alone: {of_guest:?}, pod {of_pod:?}"));
        }
    }
    Ok(())
}

/// What is remarkable of a guest that has all it can take: nothing, or where it falls short.
pub(crate) fn remark(case: &Case) -> Result<String> {
    let mut remarks = Vec::new();
    if case.topology.spec.ipv4 {
        let (pod, guest) = both(case, Family::V4)?;
        if pod.routes.iter().any(|(to, hop)| becomes_host_route(case, to, *hop, &guest)) {
            remarks.push(HOST_ROUTES);
        }
    }
    if case.topology.spec.ipv6 {
        let (_, guest) = both(case, Family::V6)?;
        if lacks_route_information(case, &guest) {
            remarks.push(NO_ROUTE_INFORMATION);
        }
        match case.client {
            Client::Udhcpc => remarks.push("of IPv6 what the kernel takes: routes and MTU; it has no DHCPv6"),
            Client::Dhclient if case.topology.spec.ipv4 => {
                remarks.push("name servers of the family that wrote resolv.conf last");
            }
            _ => {}
        }
    }
    Ok(remarks.join("; "))
}

const NO_ROUTE_INFORMATION: &str = "IPv6 routes other than the default one it does not take (RFC 4191)";

/// dhcpcd 9.4 does not read route information: a pod that has routes and no default gives it no way.
fn lacks_route_information(case: &Case, guest: &Configured) -> bool {
    case.client == Client::Dhcpcd
        && case.topology.spec.layout == Layout::NoDefault
        && !guest.routes.values().any(|hop| matches!(hop, Hop::Via(_)))
}

const HOST_ROUTES: &str = "of a subnet on link it makes a route to one host; the rest goes via the gateway";

/// dhcpcd 9.4 takes the gateway 0.0.0.0 for a mark of hosts, where RFC 3442 has it for subnets as well.
fn becomes_host_route(case: &Case, destination: &str, hop: Hop, guest: &Configured) -> bool {
    let Some((network, _)) = destination.split_once('/') else { return false };
    case.client == Client::Dhcpcd
        && hop == Hop::Link
        && !guest.routes.contains_key(destination)
        && guest.routes.get(&format!("{network}/32")) == Some(&Hop::Link)
}

/// A router is a neighbour by its link-local address, whatever address of it the pod's routes name (RFC 4861, 6.3.4):
/// ways are compared by where they lead.
fn ipv6(case: &Case, found: &mut Vec<String>) -> Result<()> {
    let (pod, guest) = both(case, Family::V6)?;
    if case.client.speaks_dhcpv6() {
        let set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
        unequal(found, "IPv6 addresses", &set(&pod.addresses), &set(&guest.addresses));
    }
    unequal(found, "IPv6 MTU", &pod.mtu, &guest.mtu);
    let nodes = node_addresses(&case.topology)?;
    let destinations: BTreeSet<&String> = pod.routes.keys().chain(guest.routes.keys()).collect();
    for destination in destinations {
        let address = inside(destination, &pod.addresses)?;
        if pod.addresses.contains(&address) {
            continue;
        }
        let way = |netns: &Netns| Ok::<_, anyhow::Error>(leads_to(way_to(netns, address)?, address, &nodes));
        let (of_pod, of_guest) = (way(&case.topology.pod)?, way(&case.guest.guest)?);
        if of_pod != of_guest && !lacks_route_information(case, &guest) {
            found.push(format!("to {address} of {destination}: pod {of_pod}, guest {of_guest}"));
        }
    }
    Ok(())
}

fn leads_to(way: Option<Hop>, address: IpAddr, nodes: &[IpAddr]) -> String {
    match way {
        None => "no way".to_owned(),
        Some(Hop::Link) if nodes.contains(&address) => "to the node".to_owned(),
        Some(Hop::Via(gateway)) if nodes.contains(&gateway) => "to the node".to_owned(),
        Some(hop) => hop.to_string(),
    }
}

/// Every IPv6 address of the node's end.
fn node_addresses(topology: &Topology) -> Result<Vec<IpAddr>> {
    let shown = topology.node.ip_json(&format!("-6 address show dev {HOST_LINK}"))?;
    let infos = shown.pointer("/0/addr_info").and_then(serde_json::Value::as_array);
    Ok(infos.into_iter().flatten().filter_map(|info| info["local"].as_str()?.parse().ok()).collect())
}

fn names(case: &Case, found: &mut Vec<String>) -> Result<()> {
    let spec = &case.topology.spec;
    let told = Resolver::parse(&spec.resolv_conf);
    let guest = case.system.resolver()?;
    let of = |family: Family| -> Vec<IpAddr> {
        told.servers.iter().copied().filter(|server| family.has(*server)).collect()
    };
    let (v4, v6) = (of(Family::V4), of(Family::V6));
    let reached = |family: Family| match family {
        Family::V4 => spec.ipv4,
        Family::V6 => spec.ipv6 && case.client.speaks_dhcpv6(),
    };
    // Of two processes the one that wrote last has the file.
    let alone = case.client == Client::Dhclient && spec.ipv4 && spec.ipv6;
    let fits = match (reached(Family::V4), reached(Family::V6)) {
        (true, true) if alone => guest.servers == v4 || guest.servers == v6,
        (true, true) => {
            let all = |list: &[IpAddr]| list.iter().copied().collect::<BTreeSet<_>>();
            all(&guest.servers) == all(&told.servers)
        }
        (true, false) => guest.servers == v4,
        (false, true) => guest.servers == v6,
        (false, false) => true,
    };
    if !fits {
        found.push(format!("DNS: pod {:?}, guest {:?}", told.servers, guest.servers));
    }
    if (reached(Family::V4) || reached(Family::V6)) && !same_names(&told.search, &guest.search) {
        found.push(format!("search list: pod {:?}, guest {:?}", told.search, guest.search));
    }
    // DHCPv6 has no host name (RFC 4704 has a domain name, which nobody asked about).
    if spec.ipv4 {
        unequal(found, "host name", &Some(HOSTNAME.to_owned()), &case.system.host_name()?);
    }
    Ok(())
}

/// Clients may put the domain (option 15), one of these names, before the others.
fn same_names(told: &[String], has: &[String]) -> bool {
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let without = |first: &String, names: &[String]| -> Vec<String> {
        names.iter().filter(|name| *name != first).cloned().collect()
    };
    match has.first() {
        Some(first) => set(told) == set(has) && (told == has || without(first, told) == without(first, has)),
        None => told.is_empty(),
    }
}

fn unequal<T: PartialEq + std::fmt::Debug>(found: &mut Vec<String>, what: &str, pod: &T, guest: &T) {
    if pod != guest {
        found.push(format!("{what}: pod {pod:?}, guest {guest:?}"));
    }
}
