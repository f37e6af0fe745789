// SPDX-License-Identifier: MIT OR Apache-2.0
//! What discovery finds in a pod: its link, addresses, routes, DNS and host name.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{
    bridged::GuestBehind,
    ids::{IfName, MacAddr},
    xdp::XdpGround,
};

/// All that the guest is to inherit, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// The pod link.
    pub link: PodLink,
    /// Global addresses of the pod link, or of what stands in for it, in the kernel's order, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Routes of the main table that leave by the pod link, in the kernel's order.
    pub routes: Vec<Route>,
    /// Name servers and search list.
    pub dns: Dns,
    /// Host name of the pod.
    pub hostname: Option<String>,
    /// Netfilter rules of the pod's namespace, a text for each table; the guest's packets pass none of them.
    pub rules: Vec<String>,
    /// Global IPv6 gateways whose link-local address is known, with it.
    pub routers: BTreeMap<Ipv6Addr, Ipv6Addr>,
    /// What a bridge says of the guest; only in mode `accelerate`.
    pub behind: Option<GuestBehind>,
}

/// The interface that the CNI put into the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// Its name.
    pub ifname: IfName,
    /// Its index in the pod's namespace.
    pub ifindex: u32,
    /// Its MAC, `None` for a link without a 6-byte one.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// `IFLA_INFO_KIND`, as in `veth`; empty for a device without one.
    pub kind: String,
    /// Whether it is set up (`IFF_UP`).
    pub up: bool,
    /// Whether its peer lives in another namespace (`IFLA_LINK_NETNSID` is there).
    pub peer_elsewhere: bool,
    /// What sits on its egress and would be skipped by packets that do not pass it, in words; `None` when nothing does.
    pub egress: Option<String>,
    /// What is known of its peer in another namespace.
    pub host_peer: HostPeer,
    /// What only tier `xdp` has to know; `None` unless it was asked for.
    pub xdp: Option<XdpGround>,
}

/// The other end of a veth, as far as it matters to packets that enter behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostPeer {
    /// Nothing on it that such packets would skip; also when there is no peer elsewhere.
    #[default]
    Clear,
    /// A native XDP program, by its id: it runs on what is sent to the device, and never on what
    /// `bpf_redirect_peer` puts behind it.
    NativeXdp(u32),
    /// It cannot be looked at; why, in words.
    Unseen(String),
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix; zero length for the default route.
    pub destination: IpNet,
    /// Next hop; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Priority, lower wins.
    pub metric: u32,
}

/// What resolv.conf(5) says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers, both families, in order.
    pub servers: Vec<IpAddr>,
    /// Search list.
    pub search: Vec<String>,
}
