// SPDX-License-Identifier: MIT OR Apache-2.0
//! What netagent replaces, for comparison: KubeVirt's bridge binding with a small DHCP server.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    process::Process,
    topology::{GATEWAY4, POD_LINK, POD4, PREFIX4, Topology},
};

/// The bridge's name, and the tap's in it.
pub const BRIDGE: &str = "k6t-eth0";
/// KubeVirt gives the bridge this address to serve DHCP from.
const SERVER: &str = "169.254.75.10/32";
/// The pod link hands its own MAC to the guest and gets this one.
const POD_LINK_MAC: &str = "02:00:00:88:00:05";
const LEASE_SECONDS: u32 = 86_400;

/// A pod that was rewired: tap and pod link in a bridge (learning off), the pod's address served by DHCP.
#[derive(Debug)]
pub struct Bridge {
    _dhcp: Process,
    _dir: tempfile::TempDir,
}

impl Bridge {
    /// Wires as [`wire_links`] does. `busybox` serves DHCP. Gives the bridge and the guest's MAC address.
    pub fn wire(topology: &Topology, tap: &str, busybox: &Path, hostname: &str) -> Result<(Self, String)> {
        let pod = &topology.pod;
        let mtu = topology.spec.mtu;
        let mac = wire_links(topology, tap)?;
        pod.ip(&format!("address add {SERVER} dev {BRIDGE}"))?;

        let dir =
            tempfile::Builder::new().prefix("natest-dhcp-").tempdir().context("cannot make a folder")?;
        let config = dir.path().join("udhcpd.conf");
        fs::write(&config, server_config(dir.path(), mtu, &mac, hostname))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = pod.command(busybox);
        // -a 0: the address is the guest's alone, so nobody has to be asked by ARP.
        command.args(["udhcpd", "-f", "-a", "0"]).arg(&config);
        let dhcp = Process::spawn_logged(&mut command, &dir.path().join("udhcpd.log"))?;
        Ok((Self { _dhcp: dhcp, _dir: dir }, mac))
    }
}

/// Takes the address off the pod link and joins it by a bridge to `tap`, which is made. Gives the guest's MAC address:
/// the one that the pod link had.
pub fn wire_links(topology: &Topology, tap: &str) -> Result<String> {
    let pod = &topology.pod;
    let mtu = topology.spec.mtu;
    let mac = topology.pod_mac()?;
    pod.ip(&format!("address flush dev {POD_LINK} scope global"))?;
    pod.ip(&format!("link set {POD_LINK} down"))?;
    pod.ip(&format!("link set {POD_LINK} address {POD_LINK_MAC}"))?;
    pod.ip(&format!("link add {BRIDGE} mtu {mtu} type bridge stp_state 0 forward_delay 0"))?;
    pod.ip(&format!("tuntap add dev {tap} mode tap vnet_hdr"))?;
    pod.ip(&format!("link set {tap} mtu {mtu}"))?;
    for link in [POD_LINK, tap] {
        pod.ip(&format!("link set {link} master {BRIDGE} up"))?;
    }
    pod.ip(&format!("link set {POD_LINK} type bridge_slave learning off"))?;
    pod.ip(&format!("link set {BRIDGE} up"))?;
    Ok(mac)
}

fn server_config(dir: &Path, mtu: u32, mac: &str, hostname: &str) -> String {
    let mask = std::net::Ipv4Addr::from(u32::MAX << (32 - u32::from(PREFIX4)));
    let leases = dir.join("leases");
    let pid = dir.join("pid");
    format!(
        "interface {BRIDGE}\nstart {POD4}\nend {POD4}\nmax_leases 1\nstatic_lease {mac} {POD4}\n\
         lease_file {}\npidfile {}\noption subnet {mask}\noption router {GATEWAY4}\noption dns {GATEWAY4}\n\
         option lease {LEASE_SECONDS}\noption mtu {mtu}\noption hostname {hostname}\n",
        leases.display(),
        pid.display(),
    )
}
