// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a real guest kernel gets and can do, on every way that this kernel has.

use netagent_tests::{
    iperf::Iperf,
    lease::DhcpClient,
    topology::{GATEWAY4, OUTSIDE4, POD4},
};

use crate::rig::{PATIENCE, Rig, Setup, returned};

/// TCP segments that the guest's card took whole: with offloads on, frames are larger than the MTU.
fn mean_frame(rig: &Rig, way: &str, before: (u64, u64)) -> u64 {
    let packets = rig.counter(&format!("/{way}/packets")) - before.0;
    let bytes = rig.counter(&format!("/{way}/bytes")) - before.1;
    bytes / packets.max(1)
}

fn count(rig: &Rig, way: &str) -> (u64, u64) {
    (rig.counter(&format!("/{way}/packets")), rig.counter(&format!("/{way}/bytes")))
}

fn leases_and_moves_traffic(setup: &Setup, tier: &str, hook: &str) {
    let rig = Rig::up(setup);
    let port = rig.port();
    assert_eq!(
        (port["datapath"]["tier"].as_str(), port["datapath"]["hook"].as_str()),
        (Some(tier), Some(hook))
    );

    assert_eq!(rig.lease.as_ref().unwrap().address, POD4);
    // Not the last message: a router solicitation may come behind it.
    assert!(port["dhcp"]["messages"]["request -> ack"].as_u64() > Some(0), "{port}");

    // Beyond the pod's own subnet, so the default route that the lease gave is in use.
    for target in [GATEWAY4, OUTSIDE4] {
        rig.guest.sh_ok(&format!("ping -c 3 -W 5 {target}"), PATIENCE).unwrap();
    }

    let before = count(&rig, "to_vm");
    let there = Iperf::to(POD4, 2).run(&rig.topology.node).unwrap();
    assert!(there.received_bits_per_second() > 0.0);
    assert!(mean_frame(&rig, "to_vm", before) > 1514, "GSO frames reach the guest whole");

    let before = count(&rig, "from_vm");
    let back = Iperf::to(POD4, 2).reverse().run(&rig.topology.node).unwrap();
    assert!(back.received_bits_per_second() > 0.0);
    assert!(mean_frame(&rig, "from_vm", before) > 1514, "TSO frames leave the guest whole");

    // An honest guest loses nothing to the guard but what an Ethernet nobody asked about carries.
    for reason in ["source_mac", "source_ipv4", "arp_sender", "malformed", "oversized", "unconfigured"] {
        assert_eq!(rig.counter(&format!("/drops/{reason}")), 0, "{reason}");
    }
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn udhcpc_through_peer_on_tcx() {
    let setup = Setup { attach: &["--tier", "peer"], ..Setup::default() };
    leases_and_moves_traffic(&setup, "peer", "tcx");
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn dhclient_through_plain_on_clsact_with_two_queues() {
    let setup = Setup {
        agent: &["--without", "tcx", "--without", "redirect-peer"],
        client: DhcpClient::Dhclient,
        queues: 2,
        ..Setup::default()
    };
    leases_and_moves_traffic(&setup, "plain", "clsact");
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn a_killed_agent_costs_the_guest_no_packet() {
    let mut rig = Rig::up(&Setup::default());
    let flood = rig.flood();
    returned(&flood, 300);
    let before = count(&rig, "from_vm");
    rig.agent.kill9().unwrap();
    returned(&flood, 600);
    rig.agent.start().unwrap();
    returned(&flood, 300);
    let counted = flood.stop().unwrap();
    assert_eq!((counted.lost, counted.duplicated), (0, 0), "{counted:?}");
    assert!(counted.sent >= 1200, "{counted:?}");

    assert_eq!(rig.port()["state"], "ready");
    assert!(count(&rig, "from_vm").0 >= before.0 + 900, "counters go on");
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn a_guest_that_takes_another_identity_reaches_nobody() {
    let rig = Rig::up(&Setup::default());
    let unreachable = |why: &str| {
        let (code, output) = rig.guest.sh(&format!("ping -c 2 -W 1 {GATEWAY4}"), PATIENCE).unwrap();
        assert_ne!(code, 0, "{why}: {output}");
    };
    rig.guest.sh_ok(&format!("ping -c 1 -W 5 {GATEWAY4}"), PATIENCE).unwrap();

    rig.guest.sh_ok("/bin/ip addr add 10.88.0.77/24 dev eth0", PATIENCE).unwrap();
    let (code, output) = rig.guest.sh(&format!("ping -c 2 -W 1 -I 10.88.0.77 {GATEWAY4}"), PATIENCE).unwrap();
    assert_ne!(code, 0, "another IPv4 address: {output}");
    assert!(rig.counter("/drops/source_ipv4") + rig.counter("/drops/arp_sender") > 0);
    rig.guest.sh_ok("/bin/ip addr del 10.88.0.77/24 dev eth0", PATIENCE).unwrap();

    rig.guest.sh_ok("/bin/ip link set eth0 address 52:54:00:de:ad:01", PATIENCE).unwrap();
    unreachable("another MAC");
    assert!(rig.counter("/drops/source_mac") > 0);
}
