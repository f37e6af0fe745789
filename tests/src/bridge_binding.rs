// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pod as virt-handler leaves it for a VM with the binding `bridge`, device by device, and KubeVirt's DHCP.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::{
    process::Process,
    topology::{GATEWAY4, POD_LINK, POD4, PREFIX4, Topology, link_mac},
};

/// The bridge.
pub const BRIDGE: &str = "k6t-eth0";
/// The pod link, renamed.
pub const POD_LINK_IN_BRIDGE: &str = "eth0-nic";
/// The tap.
pub const TAP: &str = "tap0";
/// Who QEMU runs as.
const QEMU: u32 = 107;
/// What KubeVirt serves DHCP from: 169.254.75.1 and the number of the interface behind it.
const SERVER: &str = "169.254.75.10";
/// KubeVirt's lease time, in seconds.
const LEASE_SECONDS: u32 = 86_313_600;

/// A pod that was rewired, and the DHCP server that virt-launcher would be.
#[derive(Debug)]
pub struct BridgeBinding {
    /// The guest's MAC: the one that the CNI gave the pod.
    pub mac: String,
    dhcp: Process,
    _dir: tempfile::TempDir,
}

impl BridgeBinding {
    /// Rewires the pod (pkg/network/setup/netpod: bridge, pod link, tap, stand-in, in this order) and serves.
    ///
    /// The bridge is promiscuous, which it is not with KubeVirt: so it counts what it forwards.
    pub fn wire(topology: &Topology, queues: u32) -> Result<Self> {
        let pod = &topology.pod;
        let mtu = topology.spec.mtu;
        let mac = topology.pod_mac()?;
        let addresses = addresses(topology)?;

        pod.ip(&format!("link add {BRIDGE} type bridge"))?;
        pod.ip(&format!("address add {SERVER}/32 dev {BRIDGE}"))?;
        pod.ip(&format!("link set {BRIDGE} up promisc on"))?;
        let bridge_mac = link_mac(pod, BRIDGE)?;

        pod.ip(&format!("address flush dev {POD_LINK}"))?;
        pod.ip(&format!("link set {POD_LINK} down"))?;
        pod.ip(&format!("link set {POD_LINK} name {POD_LINK_IN_BRIDGE} address {bridge_mac}"))?;
        pod.ip(&format!("link set {POD_LINK_IN_BRIDGE} master {BRIDGE} up"))?;
        pod.ip(&format!("link set {POD_LINK_IN_BRIDGE} type bridge_slave learning off"))?;

        let multi_queue = if queues > 1 { " multi_queue" } else { "" };
        pod.ip(&format!("tuntap add dev {TAP} mode tap user {QEMU} group {QEMU}{multi_queue}"))?;
        pod.ip(&format!("link set {TAP} mtu {mtu} master {BRIDGE} up"))?;

        // A bridge without ports where the kernel has no dummies: it is down, so it does no more than one.
        let stand_in = |kind| pod.ip(&format!("link add {POD_LINK} address {mac} mtu {mtu} type {kind}"));
        stand_in("dummy").or_else(|_| stand_in("bridge"))?;
        for address in addresses {
            pod.ip(&format!("address add {address} dev {POD_LINK}"))?;
        }
        pod.sysctl("ipv4/conf/all/arp_ignore", "1")?;

        let dir =
            tempfile::Builder::new().prefix("natest-dhcp-").tempdir().context("cannot make a folder")?;
        let config = dir.path().join("udhcpd.conf");
        fs::write(&config, server_config(dir.path(), mtu, &mac))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = pod.command("busybox");
        // -a 0: the address is the guest's alone, so nobody has to be asked by ARP.
        command.args(["udhcpd", "-f", "-a", "0"]).arg(&config);
        let dhcp = Process::spawn_logged(&mut command, &dir.path().join("udhcpd.log"))?;
        Ok(Self { mac, dhcp, _dir: dir })
    }

    /// Process id of the DHCP server.
    pub fn dhcp_pid(&self) -> u32 {
        self.dhcp.pid()
    }
}

/// How many frames the bridge has forwarded, of both directions.
pub fn forwarded(topology: &Topology) -> Result<u64> {
    let shown = topology.pod.ip_json(&format!("-s link show {BRIDGE}"))?;
    let packets = shown.pointer("/0/stats64/rx/packets").and_then(Value::as_u64);
    packets.ok_or_else(|| anyhow!("no count of packets in {shown}"))
}

/// The pod's addresses with their prefix lengths.
fn addresses(topology: &Topology) -> Result<Vec<String>> {
    let shown = topology.pod.ip_json(&format!("address show dev {POD_LINK} scope global"))?;
    let infos = shown.pointer("/0/addr_info").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    infos
        .iter()
        .filter(|info| info["local"].is_string())
        .map(|info| {
            let address: IpAddr =
                info["local"].as_str().and_then(|a| a.parse().ok()).context("no address")?;
            let length = info["prefixlen"].as_u64().context("no prefix length")?;
            Ok(format!("{address}/{length}"))
        })
        .collect()
}

fn server_config(dir: &Path, mtu: u32, mac: &str) -> String {
    let mask = std::net::Ipv4Addr::from(u32::MAX << (32 - u32::from(PREFIX4)));
    let leases = dir.join("leases");
    let pid = dir.join("pid");
    format!(
        "interface {BRIDGE}\nstart {POD4}\nend {POD4}\nmax_leases 1\nstatic_lease {mac} {POD4}\n\
         lease_file {}\npidfile {}\noption subnet {mask}\noption router {GATEWAY4}\noption dns {GATEWAY4}\n\
         option lease {LEASE_SECONDS}\noption mtu {mtu}\n",
        leases.display(),
        pid.display(),
    )
}
