// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one port hands its guest, all of it computed from the pod.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use ipnet::Ipv4Net;

use super::{names, routes};
use crate::{core::ids::MacAddr, dhcp::names::UnusableName};

/// Everything a port's guest gets by DHCPv4. The one client is [`client`](Self::client); others get no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The guest's MAC: `chaddr` must equal it. The client identifier (option 61) decides nothing.
    pub client: MacAddr,
    /// Ethernet source of the replies.
    pub server_mac: MacAddr,
    /// Server identifier (option 54) and IPv4 source of the replies. The guest renews by unicast to it.
    pub server_id: Ipv4Addr,
    /// The pod's address with its prefix length: `yiaddr`, and options 1 and 28.
    pub address: Ipv4Net,
    /// Option 3, and the default route where [`routes`](Self::routes) holds none. It may lie outside the prefix
    /// (Calico's 169.254.1.1).
    pub gateway: Option<Ipv4Addr>,
    /// The pod's routes in any order, the best first where two have the same destination.
    /// See [`Lease::classless_routes`] for what the guest gets of them.
    pub routes: Vec<Route>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 119. Names that cannot be encoded are left out, see [`Lease::unusable_names`].
    pub search: Vec<String>,
    /// Option 15. Without one the longest usable search domain stands in: Windows knows no option 119.
    pub domain: Option<String>,
    /// Option 12, cut to 63 characters.
    pub hostname: Option<String>,
    /// Option 26 in bytes, and the bound of a reply's size. Values below 68 (RFC 2132, 5.1) are not served.
    pub mtu: u16,
    /// Option 42.
    pub ntp: Vec<Ipv4Addr>,
    /// Option 66, and `sname`; `siaddr` as well when it is an address.
    pub tftp_server: Option<String>,
    /// Option 67, and `file`.
    pub boot_file: Option<String>,
    /// Options for private use by their codes, sent whatever the client asks for while there is room. Other codes than
    /// 224 to 254 are passed over.
    pub private_options: BTreeMap<u8, Vec<u8>>,
    /// Option 51, in whole seconds; T1 is a half of it and T2 seven eighths. What 32 bits cannot hold is infinite.
    pub lease_time: Duration,
}

/// A route of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where to; 0.0.0.0/0 is the default route. Host bits do not matter.
    pub destination: Ipv4Net,
    /// The next hop. `None`: the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
}

impl Lease {
    /// The routes of option 121 in the order the guest gets them: what is on the link first, then what goes through
    /// a gateway, the default route last. Empty when the mask and option 3 say it all.
    ///
    /// A client that gets option 121 ignores option 3 (RFC 3442), so the default route is among them; and clients
    /// install routes one by one, so a gateway outside the prefix has an on-link route of its own before its use.
    pub fn classless_routes(&self) -> Vec<Route> {
        routes::classless(self)
    }

    /// The hostname, domain and search domains that are left out of replies, and why: for an event, once per change.
    pub fn unusable_names(&self) -> Vec<UnusableName> {
        names::unusable(self)
    }
}
