// SPDX-License-Identifier: MIT OR Apache-2.0
//! A node and a pod as a CNI leaves them: two namespaces, a veth pair, addresses and routes; no NAT.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

pub use crate::cni::Layout;
use crate::{cni::Wiring, netns::Netns};

/// The node's end of the pod's network: the gateway.
pub const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The pod's address.
pub const POD4: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 5);
/// Length of the pod's IPv4 prefix.
pub const PREFIX4: u8 = 24;
/// The node's end of the pod's network: the gateway.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x88, 0, 0, 0, 0, 0, 1);
/// The pod's address.
pub const POD6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x88, 0, 0, 0, 0, 0, 5);
/// Length of the pod's IPv6 prefix.
pub const PREFIX6: u8 = 64;
/// An address of the node outside the pod's network: reached through a route only.
pub const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// An address of the node outside the pod's network: reached through a route only.
pub const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);
/// The node's end of the veth pair.
pub const HOST_LINK: &str = "vethpod";
/// The pod's end of the veth pair.
pub const POD_LINK: &str = "eth0";

/// What the pod gets. Start from `Pod::default()` and change what the test is about.
#[derive(Clone, Debug)]
pub struct Pod {
    /// MTU of both ends of the veth pair.
    pub mtu: u32,
    /// How addresses, gateway and prefix meet.
    pub layout: Layout,
    /// Whether it has an IPv4 address and default route.
    pub ipv4: bool,
    /// Whether it has an IPv6 address and default route.
    pub ipv6: bool,
    /// More routes of the pod: destination prefix and gateway.
    pub routes: Vec<(String, String)>,
    /// Text of the pod's resolv.conf.
    pub resolv_conf: String,
}

impl Default for Pod {
    fn default() -> Self {
        Self {
            mtu: 1500,
            layout: Layout::default(),
            ipv4: true,
            ipv6: true,
            routes: Vec::new(),
            resolv_conf:
                "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
                    .to_owned(),
        }
    }
}

impl Pod {
    /// Builds node and pod.
    pub fn build(self) -> Result<Topology> {
        Topology::new(self)
    }
}

/// Node and pod. Dropping removes both namespaces and with them all links.
#[derive(Debug)]
pub struct Topology {
    /// Stands for the node's own network.
    pub node: Netns,
    /// The pod's network, as the CNI left it.
    pub pod: Netns,
    /// What it was built from.
    pub spec: Pod,
    resolv_conf: PathBuf,
    // Dropped last: the file in it is handed to the agent.
    dir: tempfile::TempDir,
}

impl Topology {
    fn new(spec: Pod) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("natest-pod-").tempdir().context("cannot make a folder")?;
        let resolv_conf = dir.path().join("resolv.conf");
        std::fs::write(&resolv_conf, &spec.resolv_conf)
            .with_context(|| format!("cannot write {}", resolv_conf.display()))?;
        let topology = Self { node: Netns::new("node")?, pod: Netns::new("pod")?, spec, resolv_conf, dir };
        topology.wire()?;
        Ok(topology)
    }

    fn wire(&self) -> Result<()> {
        let Self { node, pod, spec, .. } = self;
        let mtu = spec.mtu;
        let pod_name = pod.name();
        node.ip(&format!(
            "link add {HOST_LINK} mtu {mtu} type veth peer name {POD_LINK} mtu {mtu} netns {pod_name}"
        ))?;
        node.sysctl("ipv4/ip_forward", "1")?;
        node.sysctl("ipv6/conf/all/forwarding", "1")?;
        // Without this a link-local address is tentative for a second, and the first packets go astray.
        for netns in [node, pod] {
            netns.sysctl("ipv6/conf/default/accept_dad", "0")?;
        }
        node.sysctl(&format!("ipv6/conf/{HOST_LINK}/accept_dad"), "0")?;
        pod.sysctl(&format!("ipv6/conf/{POD_LINK}/accept_dad"), "0")?;
        node.ip(&format!("link set {HOST_LINK} up"))?;
        node.ip(&format!("address add {OUTSIDE4}/32 dev lo"))?;
        node.ip(&format!("address add {OUTSIDE6}/128 dev lo"))?;
        self.address_again()
    }

    /// Gives the pod's link its addresses and routes, as after it was made anew.
    pub fn address_again(&self) -> Result<()> {
        let Self { pod, spec, .. } = self;
        pod.ip(&format!("link set {POD_LINK} up"))?;
        if spec.ipv4 {
            self.apply(&spec.layout.ipv4())?;
        }
        if spec.ipv6 {
            self.apply(&spec.layout.ipv6())?;
        }
        for (to, via) in &spec.routes {
            pod.ip(&format!("route add {to} via {via} dev {POD_LINK}"))?;
        }
        Ok(())
    }

    fn apply(&self, wiring: &Wiring) -> Result<()> {
        for (key, value) in &wiring.sysctls {
            self.node.sysctl(key, value)?;
        }
        for arguments in &wiring.node {
            self.node.ip(arguments)?;
        }
        for arguments in &wiring.pod {
            self.pod.ip(arguments)?;
        }
        Ok(())
    }

    /// The pod's resolv.conf, for `netagent attach --resolv-conf`.
    pub fn resolv_conf(&self) -> &Path {
        &self.resolv_conf
    }

    /// Its working folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// MAC address of the pod's link.
    pub fn pod_mac(&self) -> Result<String> {
        link_mac(&self.pod, POD_LINK)
    }

    /// MAC address of the node's end.
    pub fn host_mac(&self) -> Result<String> {
        link_mac(&self.node, HOST_LINK)
    }
}

/// MAC address of a link, as `ip` shows it.
pub fn link_mac(netns: &Netns, link: &str) -> Result<String> {
    let links = netns.ip_json(&format!("link show {link}"))?;
    links
        .pointer("/0/address")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("`ip` shows no address for {link} in {}", netns.name()))
}
