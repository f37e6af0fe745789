// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a router advertisement (RFC 4861, section 4.6; RFC 4191; RFC 8106), and which give way when not all
//! fit.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::{Advert, frame::MIN_MTU};
use crate::dhcp::names;

pub(super) const PREFIX_INFORMATION: u8 = 3;
pub(super) const MTU: u8 = 5;
pub(super) const ROUTE_INFORMATION: u8 = 24;
pub(super) const DNS_SERVERS: u8 = 25;
pub(super) const DNS_SEARCH: u8 = 31;

/// L without A: the prefix is on the link, and no address is to be formed from it.
const ON_LINK: u8 = 0x80;
/// The longest option, in units of 8 bytes, which is what its length counts.
const MAX_UNITS: usize = 255;
/// So many addresses of two units each have a place beside the first unit.
const MAX_SERVERS: usize = 127;

/// An option: its type, and all that follows its length.
struct RaOption {
    kind: u8,
    value: Vec<u8>,
}

impl RaOption {
    /// Length in units of 8 bytes, `None` for more than an option can have.
    fn units(&self) -> Option<u8> {
        let units = self.value.len().saturating_add(2).div_ceil(8);
        u8::try_from(units.min(MAX_UNITS.saturating_add(1))).ok()
    }

    /// Appends it, filled up with zeros.
    fn put(&self, out: &mut Vec<u8>, units: u8) {
        let end = out.len().saturating_add(usize::from(units).saturating_mul(8));
        out.extend([self.kind, units]);
        out.extend(&self.value);
        out.resize(end, 0);
    }
}

/// The options that have a place in `space` bytes, and the types of those that have not. One that does not fit is left
/// out whole; smaller ones behind it may still fit.
pub(super) fn fit(advert: &Advert, space: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut left_out) = (Vec::with_capacity(space.min(1500)), Vec::new());
    for option in by_importance(advert) {
        let room = space.saturating_sub(out.len());
        match option.units().filter(|units| usize::from(*units).saturating_mul(8) <= room) {
            Some(units) => option.put(&mut out, units),
            None => left_out.push(option.kind),
        }
    }
    (out, left_out)
}

/// All that the advert says, the most important first. A wrong MTU loses packets, and a guest without name servers
/// reaches nobody by name; what is on the link or behind another router is also reached by the default route, at a
/// price; names are convenience.
fn by_importance(advert: &Advert) -> impl Iterator<Item = RaOption> {
    let lifetime = advert.lifetime;
    let mtu = (advert.mtu >= MIN_MTU).then(|| mtu(advert.mtu));
    let prefixes = advert.prefixes.iter().map(move |prefix| prefix_information(*prefix, lifetime));
    let dns = advert.dns.chunks(MAX_SERVERS).map(move |servers| dns_servers(servers, lifetime));
    let routes = advert.routes.iter().map(move |route| route_information(*route, lifetime));
    mtu.into_iter().chain(dns).chain(prefixes).chain(routes).chain(dns_search(&advert.search, lifetime))
}

/// RFC 4861, section 4.6.4.
fn mtu(mtu: u32) -> RaOption {
    let mut value = vec![0; 2];
    value.extend(mtu.to_be_bytes());
    RaOption { kind: MTU, value }
}

/// RFC 4861, section 4.6.2.
fn prefix_information(prefix: Ipv6Net, lifetime: u32) -> RaOption {
    let mut value = vec![prefix.prefix_len(), ON_LINK];
    value.extend(lifetime.to_be_bytes()); // valid
    value.extend(lifetime.to_be_bytes()); // preferred
    value.extend([0; 4]);
    value.extend(prefix.network().octets());
    RaOption { kind: PREFIX_INFORMATION, value }
}

/// RFC 4191, section 2.3, of medium preference. As much of the prefix is there as it needs.
fn route_information(route: Ipv6Net, lifetime: u32) -> RaOption {
    let mut value = vec![route.prefix_len(), 0];
    value.extend(lifetime.to_be_bytes());
    let significant = usize::from(route.prefix_len()).div_ceil(64).saturating_mul(8);
    value.extend(route.network().octets().iter().take(significant));
    RaOption { kind: ROUTE_INFORMATION, value }
}

/// RFC 8106, section 5.1.
fn dns_servers(servers: &[Ipv6Addr], lifetime: u32) -> RaOption {
    let mut value = vec![0; 2];
    value.extend(lifetime.to_be_bytes());
    value.extend(servers.iter().flat_map(Ipv6Addr::octets));
    RaOption { kind: DNS_SERVERS, value }
}

/// RFC 8106, section 5.2: names without compression. `None` without a usable one.
fn dns_search(search: &[String], lifetime: u32) -> Option<RaOption> {
    let names = names::search(search);
    if names.is_empty() {
        return None;
    }
    let mut value = vec![0; 2];
    value.extend(lifetime.to_be_bytes());
    value.extend(names::encode_whole(&names));
    Some(RaOption { kind: DNS_SEARCH, value })
}
