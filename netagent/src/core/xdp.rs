// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tier `xdp` needs of the devices, and what stands in its way.

use std::collections::BTreeSet;

use super::{pod::PodLink, tier::KernelFeatures};

/// The largest MTU in bytes that a veth takes with XDP: a frame, the room that XDP wants before it and the kernel's
/// notes behind it share a page of 4 KiB (`veth_xdp_set`, drivers/net/veth.c). The kernel's own limit is a few bytes
/// more and moves with its configuration.
pub const MAX_MTU: u32 = 3498;

/// Features by which the kernel leaves work on a frame to the device. XDP sees no notes about that work, so it would
/// forward the frame undone. Segmentation goes with the checksums, except that of SCTP, which the kernel itself turns
/// off.
const CHECKSUMS_AND_SEGMENTS: [&str; 7] = [
    "tx-checksum-ip-generic",
    "tx-checksum-ipv4",
    "tx-checksum-ipv6",
    "tx-checksum-sctp",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-segmentation",
];
/// As above; the tag is not in the frame.
const VLAN_TAGS: [&str; 2] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];
/// Makes a veth receive by NAPI, which alone takes what XDP sends to it.
const GRO: &str = "rx-gro";

/// The devices on both sides of a pod link, as far as tier `xdp` has to know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpGround {
    /// Somebody else's XDP program is on the pod link.
    pub foreign_program: bool,
    /// Receive queues of the pod link; `None` where the kernel does not tell.
    pub rx_queues: Option<u32>,
    /// The host peer; else why it cannot be read, in words.
    pub peer: Result<PeerDevice, String>,
}

/// The other end of the pod link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerDevice {
    /// Its name in its own namespace.
    pub ifname: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether an XDP program is on it.
    pub has_program: bool,
    /// Its transmit queues; `None` where the kernel does not tell.
    pub tx_queues: Option<u32>,
    /// Names of the features that are on, as `ethtool -k` has them (net/ethtool/common.c).
    pub features: BTreeSet<String>,
}

impl PeerDevice {
    fn which_are_on(&self, names: &[&str]) -> Option<String> {
        let on: Vec<_> = names.iter().copied().filter(|name| self.features.contains(*name)).collect();
        (!on.is_empty()).then(|| on.join(", "))
    }
}

/// Everything that stands in the way of tier `xdp`, in words; `None` when nothing does.
pub fn obstacles(link: &PodLink, kernel: KernelFeatures) -> Option<String> {
    let name = &link.ifname;
    if !kernel.xdp {
        return Some("the kernel does not take netagent's XDP programs (6.12 does)".into());
    }
    if link.kind != "veth" {
        let kind = if link.kind.is_empty() { "a physical device" } else { &link.kind };
        return Some(format!("{name} is {kind}, not a veth"));
    }
    if !link.peer_elsewhere {
        return Some(format!("the peer of {name} is in the same namespace"));
    }
    let Some(ground) = &link.xdp else { return Some(format!("{name} was not looked at")) };
    let mut found = Vec::new();
    if ground.foreign_program {
        found.push(format!("{name} has an XDP program of somebody else"));
    }
    let Some(rx_queues) = ground.rx_queues else {
        return Some(format!("the kernel does not tell the queues of {name} (5.13)"));
    };
    match &ground.peer {
        Ok(peer) => found.extend(in_peer(link, rx_queues, peer)),
        Err(reason) => found.push(reason.clone()),
    }
    (!found.is_empty()).then(|| found.join(", and "))
}

fn in_peer(link: &PodLink, rx_queues: u32, peer: &PeerDevice) -> Vec<String> {
    let (name, peer_name) = (&link.ifname, &peer.ifname);
    let mut found = Vec::new();
    let mtu = link.mtu.max(peer.mtu);
    if mtu > MAX_MTU {
        found.push(format!("the MTU {mtu} of {name} is more than the {MAX_MTU} that XDP can have on a veth"));
    }
    if let Some(on) = peer.which_are_on(&CHECKSUMS_AND_SEGMENTS) {
        found.push(format!(
            "its host peer {peer_name} leaves work to the device that XDP would lose ({on}); run `ethtool -K \
             {peer_name} tx off` on the node"
        ));
    }
    if let Some(on) = peer.which_are_on(&VLAN_TAGS) {
        found.push(format!(
            "its host peer {peer_name} hides VLAN tags from XDP ({on}); run `ethtool -K {peer_name} txvlan off \
             tx-vlan-stag-hw-insert off` on the node"
        ));
    }
    if !peer.features.contains(GRO) && !peer.has_program {
        found.push(format!(
            "its host peer {peer_name} drops what XDP sends to it, for want of NAPI; run `ethtool -K {peer_name} gro \
             on` on the node"
        ));
    }
    match peer.tx_queues {
        None => found.push(format!("the kernel does not tell the queues of its host peer {peer_name} (5.13)")),
        Some(tx_queues) if tx_queues > rx_queues => found.push(format!(
            "its host peer {peer_name} sends by {tx_queues} queues and {name} receives by {rx_queues}; run `ethtool \
             -L {peer_name} tx {rx_queues}` on the node"
        )),
        Some(_) => {}
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::desired::tests::{KERNEL, facts};

    /// Devices on which nothing stands in the way.
    pub(crate) fn ground() -> XdpGround {
        XdpGround {
            foreign_program: false,
            rx_queues: Some(1),
            peer: Ok(PeerDevice {
                ifname: "veth1".into(),
                mtu: 1450,
                has_program: false,
                tx_queues: Some(1),
                features: [GRO, "highdma"].map(str::to_owned).into(),
            }),
        }
    }

    #[test]
    fn a_quiet_pair_is_no_obstacle() {
        let link = PodLink { xdp: Some(ground()), ..facts().link };
        assert_eq!(obstacles(&link, KERNEL), None);
    }

    #[test]
    fn every_obstacle_is_named_with_its_remedy() {
        type Spoil = fn(&mut PodLink, &mut XdpGround, &mut PeerDevice);
        let cases: [(&str, Spoil); 11] = [
            ("eth0 is macvlan, not a veth", |l, _, _| l.kind = "macvlan".into()),
            ("the peer of eth0 is in the same namespace", |l, _, _| l.peer_elsewhere = false),
            ("XDP program of somebody else", |_, g, _| g.foreign_program = true),
            ("does not tell the queues of eth0", |_, g, _| g.rx_queues = None),
            ("does not tell the queues of its host peer", |_, _, p| p.tx_queues = None),
            ("`ethtool -L veth1 tx 1`", |_, _, p| p.tx_queues = Some(4)),
            ("the MTU 9000 of eth0", |l, _, _| l.mtu = 9000),
            ("the MTU 4000 of eth0", |_, _, p| p.mtu = 4000),
            ("(tx-checksum-ip-generic); run `ethtool -K veth1 tx off`", |_, _, p| {
                p.features.insert("tx-checksum-ip-generic".into());
            }),
            ("(tx-vlan-hw-insert); run `ethtool -K veth1 txvlan off", |_, _, p| {
                p.features.insert("tx-vlan-hw-insert".into());
            }),
            ("`ethtool -K veth1 gro on`", |_, _, p| p.features.clear()),
        ];
        for (expected, spoil) in cases {
            let (mut link, mut ground) = (facts().link, ground());
            let mut peer = ground.peer.clone().unwrap();
            spoil(&mut link, &mut ground, &mut peer);
            ground.peer = Ok(peer);
            link.xdp = Some(ground);
            let text = obstacles(&link, KERNEL).unwrap();
            assert!(text.contains(expected), "{text} should say {expected}");
        }
    }

    #[test]
    fn all_obstacles_are_told_at_once() {
        let mut ground = ground();
        ground.foreign_program = true;
        ground.peer = Err("its host peer cannot be seen".into());
        let link = PodLink { xdp: Some(ground), ..facts().link };
        let text = obstacles(&link, KERNEL).unwrap();
        assert!(text.contains("somebody else, and its host peer cannot be seen"), "{text}");
        let old = KernelFeatures { xdp: false, ..KERNEL };
        assert_eq!(
            obstacles(&link, old).unwrap(),
            "the kernel does not take netagent's XDP programs (6.12 does)"
        );
    }

    #[test]
    fn a_program_on_the_peer_does_for_gro() {
        let mut ground = ground();
        let peer = ground.peer.as_mut().unwrap();
        peer.features.clear();
        peer.has_program = true;
        let link = PodLink { xdp: Some(ground), ..facts().link };
        assert_eq!(obstacles(&link, KERNEL), None);
    }
}
