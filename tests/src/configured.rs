// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a namespace's kernel has on a link, and where it sends packets: the same questions to a pod and to its guest.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::netns::Netns;

/// One family of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// To a neighbour.
    Link,
    /// To a gateway.
    Via(IpAddr),
}

/// What a link has of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// Addresses of global scope, in the kernel's order.
    pub addresses: Vec<IpAddr>,
    /// Of the main table: destination with its prefix length, and hop. Without link-local ones.
    pub routes: BTreeMap<String, Hop>,
    /// The largest that a packet may have on the default route, without one on any: the link's, or less where family or
    /// routes say so.
    pub mtu: u32,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Whether an address is of this family.
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    fn flag(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    fn length(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl Configured {
    /// Asks the kernel of `netns`.
    pub fn read(netns: &Netns, link: &str, family: Family) -> Result<Self> {
        let flag = family.flag();
        let shown = netns.ip_json(&format!("{flag} address show dev {link} scope global"))?;
        let infos = shown.pointer("/0/addr_info").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        // `ip` prints an empty object in the place of what its filter left out.
        let addresses = infos.iter().filter_map(|info| info["local"].as_str()?.parse().ok()).collect();
        let shown = netns.ip_json(&format!("{flag} route show table main dev {link}"))?;
        let shown = shown.as_array().ok_or_else(|| anyhow!("no list of routes: {shown}"))?;
        let mut routes = BTreeMap::new();
        let of_link = link_mtu(netns, link, family)?;
        let (mut mtu, mut default_mtu) = (None, None);
        for route in shown {
            let destination = destination(route["dst"].as_str().context("a route to nowhere")?, family);
            if destination.starts_with("fe80:") {
                continue;
            }
            let of_route = route.pointer("/metrics/0/mtu").and_then(Value::as_u64);
            let of_route = of_route.map_or(Ok(of_link), u32::try_from).context("MTU of a route")?;
            mtu = mtu.max(Some(of_route.min(of_link)));
            if destination.ends_with("/0") {
                default_mtu = default_mtu.or(Some(of_route.min(of_link)));
            }
            let gateway = route["gateway"].as_str().or_else(|| route["via"]["host"].as_str());
            let hop = gateway.map(str::parse).transpose().with_context(|| format!("gateway in {route}"))?;
            // In the order of their metrics: the first is the one that counts.
            routes.entry(destination).or_insert(hop.map_or(Hop::Link, Hop::Via));
        }
        Ok(Self { addresses, routes, mtu: default_mtu.or(mtu).unwrap_or(of_link) })
    }
}

/// For how many seconds an address of a link is still valid; nothing when it is not there or does not end.
pub fn valid_seconds(netns: &Netns, link: &str, address: IpAddr) -> Result<Option<u64>> {
    let shown = netns.ip_json(&format!("address show dev {link}"))?;
    let infos = shown.pointer("/0/addr_info").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let own = infos.iter().find(|info| info["local"].as_str().and_then(|a| a.parse().ok()) == Some(address));
    let seconds = own.and_then(|info| info["valid_life_time"].as_u64());
    Ok(seconds.filter(|seconds| *seconds < u32::MAX.into()))
}

/// Which way the kernel of `netns` sends a packet to `address`; nothing if there is no route.
pub fn way_to(netns: &Netns, address: IpAddr) -> Result<Option<Hop>> {
    let address = address.to_string();
    let done = netns.exec(&["ip", "-j", "route", "get", &address])?;
    if done.code != 0 {
        // Unreachable is an answer; so is a family that has no address.
        return Ok(None);
    }
    let shown: Value = serde_json::from_str(&done.stdout).with_context(|| done.stdout.clone())?;
    let route = shown.get(0).ok_or_else(|| anyhow!("no route in {shown}"))?;
    let gateway = route["gateway"].as_str().map(str::parse).transpose().context("gateway")?;
    Ok(Some(gateway.map_or(Hop::Link, Hop::Via)))
}

/// An address in a destination, to ask the way to: neither the network's own nor one of `taken`.
pub fn inside(destination: &str, taken: &[IpAddr]) -> Result<IpAddr> {
    let (network, length) = destination.split_once('/').ok_or_else(|| anyhow!("no prefix: {destination}"))?;
    let length: u32 = length.parse().with_context(|| format!("prefix length of {destination}"))?;
    let network: IpAddr = network.parse().with_context(|| format!("network of {destination}"))?;
    if length == 0 {
        // Nobody's, and in nobody's routes (RFC 5737, RFC 3849).
        let far = if network.is_ipv4() { "192.0.2.77" } else { "2001:db8:77::77" };
        return far.parse().context("an address");
    }
    let host_bits = if network.is_ipv4() { 32 } else { 128 } - length;
    let nth = |n: u8| -> IpAddr {
        match network {
            IpAddr::V4(a) => (u32::from(a) + u32::from(n)).to_be_bytes().into(),
            IpAddr::V6(a) => (u128::from(a) + u128::from(n)).to_be_bytes().into(),
        }
    };
    if host_bits < 3 {
        return Ok(network);
    }
    (2..7).map(nth).find(|a| !taken.contains(a)).ok_or_else(|| anyhow!("{destination} is full"))
}

fn destination(text: &str, family: Family) -> String {
    match text {
        "default" => if family == Family::V4 { "0.0.0.0/0" } else { "::/0" }.to_owned(),
        _ if text.contains('/') => text.to_owned(),
        _ => format!("{text}/{}", family.length()),
    }
}

fn link_mtu(netns: &Netns, link: &str, family: Family) -> Result<u32> {
    let shown = netns.ip_json(&format!("link show dev {link}"))?;
    let mtu = shown.pointer("/0/mtu").and_then(Value::as_u64).ok_or_else(|| anyhow!("no MTU in {shown}"))?;
    let mtu = u32::try_from(mtu).context("MTU of a link")?;
    if family == Family::V4 {
        return Ok(mtu);
    }
    // What a router advertisement said.
    let file = format!("/proc/sys/net/ipv6/conf/{link}/mtu");
    let text = netns.run_inside(|| std::fs::read_to_string(&file))?;
    // A link too small for IPv6 has none.
    Ok(text.ok().and_then(|text| text.trim().parse().ok()).map_or(mtu, |of_family: u32| mtu.min(of_family)))
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("on link"),
            Self::Via(gateway) => write!(f, "via {gateway}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_inside_is_nobody_s() {
        let taken = ["10.0.0.2".parse().unwrap()];
        assert_eq!(inside("10.0.0.0/24", &taken).unwrap().to_string(), "10.0.0.3");
        assert_eq!(inside("10.0.0.9/32", &taken).unwrap().to_string(), "10.0.0.9");
        assert_eq!(inside("fd00::/64", &taken).unwrap().to_string(), "fd00::2");
        assert!(inside("default", &taken).is_err());
    }

    #[test]
    fn destinations_have_a_length() {
        assert_eq!(destination("default", Family::V6), "::/0");
        assert_eq!(destination("10.0.0.1", Family::V4), "10.0.0.1/32");
        assert_eq!(destination("10.0.0.0/24", Family::V4), "10.0.0.0/24");
    }
}
