// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one port hands its guest by DHCPv6, all of it computed from the pod.

use std::{net::Ipv6Addr, time::Duration};

use crate::{
    core::ids::MacAddr,
    dhcp::names::{self, UnusableName},
};

/// DUID of type link-layer address, of an Ethernet address (RFC 8415, 11.4).
const DUID_LL_ETHERNET: [u8; 4] = [0, 3, 0, 1];
/// The lifetime that never ends (RFC 8415, 7.7).
pub(super) const INFINITE: u32 = u32::MAX;

/// Everything a port's guest gets by DHCPv6. The one client is [`client`](Self::client); others get no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The guest's MAC: the Ethernet source must equal it. The client's DUID decides nothing.
    pub client: MacAddr,
    /// Ethernet source of the replies, and what the server's DUID is made of.
    pub server_mac: MacAddr,
    /// IPv6 source of the replies, link-local.
    pub server_address: Ipv6Addr,
    /// The pod's addresses, all of them in the guest's first IA_NA.
    pub addresses: Vec<Ipv6Addr>,
    /// Option 23.
    pub dns: Vec<Ipv6Addr>,
    /// Option 24. Names that cannot be encoded are left out, see [`Lease::unusable_names`].
    pub search: Vec<String>,
    /// Option 56.
    pub ntp: Vec<Ipv6Addr>,
    /// The link's MTU in bytes, the bound of a reply's size; 1280 when it is less (RFC 8200, section 5).
    pub mtu: u16,
    /// Preferred and valid lifetime, in whole seconds; T1 is a half of it and T2 seven eighths. What 32 bits cannot hold
    /// is infinite.
    pub lease_time: Duration,
}

impl Lease {
    /// The search domains that are left out of replies, and why: for an event, once per change.
    pub fn unusable_names(&self) -> Vec<UnusableName> {
        names::unusable_search(&self.search).collect()
    }

    /// The server identifier. It follows from the MAC, which is the same on every node: after a live migration the
    /// guest renews with the server that it knows.
    pub(super) fn server_id(&self) -> [u8; 10] {
        let ([a, b, c, d], [e, f, g, h, i, j]) = (DUID_LL_ETHERNET, self.server_mac.0);
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// Preferred and valid lifetime.
    pub(super) fn lifetime(&self) -> u32 {
        u32::try_from(self.lease_time.as_secs()).unwrap_or(INFINITE)
    }

    /// T1 and T2.
    pub(super) fn times(&self) -> (u32, u32) {
        match self.lifetime() {
            INFINITE => (INFINITE, INFINITE),
            seconds => (seconds >> 1, seconds.saturating_sub(seconds >> 3)),
        }
    }
}
