// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Linux bridge between tap and pod link, as KubeVirt's bridge binding sets it: no learning on the pod link.

use std::path::Path;

use anyhow::{Result, bail};
use netagent_tests::bridge;

use crate::bench::scene::{TAP, Wired, mac, pod};

/// Whether bridged frames pass the firewall's hooks. Each namespace has its own switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Netfilter {
    /// Kubernetes asks for it on its nodes, and a new namespace has it wherever br_netfilter is loaded.
    On,
    /// Not loaded, or switched off in the pod.
    Off,
}

/// Below /proc/sys/net; there while br_netfilter is loaded.
const SWITCHES: [&str; 3] =
    ["bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables", "bridge/bridge-nf-call-arptables"];

/// The bridge without its DHCP server, which is not on the path.
pub(super) fn build(netfilter: Netfilter) -> Result<Wired> {
    let topology = pod()?;
    let loaded = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    if netfilter == Netfilter::On && !loaded {
        bail!("br_netfilter is not loaded: modprobe br_netfilter");
    }
    if loaded {
        let value = if netfilter == Netfilter::On { "1" } else { "0" };
        for switch in SWITCHES {
            topology.pod.sysctl(switch, value)?;
        }
    }
    let guest_mac = bridge::wire_links(&topology, TAP)?;
    Ok(Wired { guest_mac: mac(&guest_mac)?, ..Wired::plain(topology)? })
}
