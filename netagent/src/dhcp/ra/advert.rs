// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one router of a port says, and how it is taken back.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::core::ids::MacAddr;

/// What one router of a port says to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The only guest there is: solicitations of others get no answer.
    pub client: MacAddr,
    /// Ethernet source of the frames.
    pub server_mac: MacAddr,
    /// IPv6 source: the router's link-local address, by which the guest knows it (RFC 4861, section 6.3.4).
    pub router: Ipv6Addr,
    /// For how many seconds it is a default router; 0 when it is none.
    pub router_lifetime: u16,
    /// M: addresses are to be had by DHCPv6.
    pub managed: bool,
    /// O: other parameters are to be had by DHCPv6.
    pub other: bool,
    /// MTU option, in bytes. Values below 1280 (RFC 8200, section 5) are not told.
    pub mtu: u32,
    /// For how many seconds all below holds, [`u32::MAX`] for ever; 0 takes it back.
    pub lifetime: u32,
    /// Prefixes on the link (L), from which the guest is to form no address (no A).
    pub prefixes: Vec<Ipv6Net>,
    /// Routes through this router that are more specific than the default one (RFC 4191).
    pub routes: Vec<Ipv6Net>,
    /// Name servers (RFC 8106, section 5.1).
    pub dns: Vec<Ipv6Addr>,
    /// Search list (RFC 8106, section 5.2). Names that cannot be encoded are left out.
    pub search: Vec<String>,
}

/// The advert that takes back all that `advert` said: it is sent when its router is none of the port's any more
/// (RFC 4861, section 6.2.5).
pub fn final_word(advert: &Advert) -> Advert {
    Advert { router_lifetime: 0, lifetime: 0, ..advert.clone() }
}

/// What has to be taken back when `new` is said in place of `old`, to be sent before it: lifetimes are long, and what
/// is only not said any more stays with the guest until they end.
///
/// A router that went has its [`final_word`]; one that stays takes back what it says no more. The first may name what
/// the others still say, which is why they speak after it.
pub fn retraction(old: &[Advert], new: &[Advert]) -> Vec<Advert> {
    old.iter()
        .filter_map(|before| match new.iter().find(|after| after.router == before.router) {
            None => Some(final_word(before)),
            Some(after) => {
                let gone = Advert {
                    lifetime: 0,
                    prefixes: without(&before.prefixes, &after.prefixes),
                    routes: without(&before.routes, &after.routes),
                    dns: without(&before.dns, &after.dns),
                    search: without(&before.search, &after.search),
                    ..after.clone()
                };
                let says = !(gone.prefixes.is_empty()
                    && gone.routes.is_empty()
                    && gone.dns.is_empty()
                    && gone.search.is_empty());
                says.then_some(gone)
            }
        })
        .collect()
}

fn without<T: Clone + PartialEq>(before: &[T], after: &[T]) -> Vec<T> {
    before.iter().filter(|item| !after.contains(item)).cloned().collect()
}
