// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP and UDP of a real guest whose card does the work, and of one whose kernel does it: every checksum is right.

use std::net::IpAddr;

use netagent_tests::{
    exchange,
    iperf::Iperf,
    topology::{GATEWAY6, POD4, POD6},
};

use crate::rig::{PATIENCE, Rig, Setup};

/// Ethernet header and MTU: what a frame has at most when nothing is left to the card.
const WHOLE: u64 = 1514;

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn offloads_on_and_off_through_peer() {
    offloads_on_and_off(&["--tier", "peer"]);
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn offloads_on_and_off_through_plain() {
    offloads_on_and_off(&["--tier", "plain"]);
}

fn offloads_on_and_off(attach: &'static [&'static str]) {
    let rig = Rig::up(&Setup { attach, ..Setup::default() });
    for command in [
        format!("/bin/ip -6 address replace {POD6}/128 dev eth0 nodad"),
        format!("/bin/ip -6 route replace {GATEWAY6}/128 dev eth0"),
        format!("/bin/ip -6 route replace default via {GATEWAY6} dev eth0"),
    ] {
        rig.guest.sh_ok(&command, PATIENCE).unwrap();
    }
    for offloads in ["on", "off"] {
        let settings = ["tx", "tso", "gso", "gro"].map(|name| format!("{name} {offloads}")).join(" ");
        rig.guest.sh_ok(&format!("ethtool -K eth0 {settings}"), PATIENCE).unwrap();
        for address in [IpAddr::from(POD4), POD6.into()] {
            tcp_both_ways(&rig, address, offloads);
            udp_both_ways(&rig, address);
        }
        nothing_is_amiss(&rig, offloads);
    }
}

fn tcp_both_ways(rig: &Rig, address: IpAddr, offloads: &str) {
    let node = &rig.topology.node;
    let there = Iperf::to(address, 1).run(node).unwrap();
    assert!(there.received_bits_per_second() > 0.0, "{address}, offloads {offloads}");
    let count = || (rig.counter("/from_vm/packets"), rig.counter("/from_vm/bytes"));
    let before = count();
    let back = Iperf::to(address, 1).reverse().run(node).unwrap();
    assert!(back.received_bits_per_second() > 0.0, "{address}, offloads {offloads}");
    let after = count();
    let mean = (after.1 - before.1) / (after.0 - before.0).max(1);
    // Without the switch nothing would differ, and half of this test would be the other half again.
    assert_eq!(mean > WHOLE, offloads == "on", "{address}, offloads {offloads}: frames of {mean} bytes");
}

fn udp_both_ways(rig: &Rig, address: IpAddr) {
    for reverse in [false, true] {
        let test = Iperf::to(address, 1).udp("5M");
        let report = if reverse { test.reverse() } else { test }.run(&rig.topology.node).unwrap();
        assert!(report.received_bits_per_second() > 0.0, "{address}: {:?}", report.end);
    }
}

fn nothing_is_amiss(rig: &Rig, offloads: &str) {
    let text = |file: &str| rig.guest.sh_ok(&format!("cat {file}"), PATIENCE).unwrap();
    let in_guest = exchange::checksum_errors_in(&text("/proc/net/snmp"), &text("/proc/net/snmp6"));
    assert_eq!(in_guest, 0, "offloads {offloads}: checksums that the guest found wrong");
    let on_node = exchange::checksum_errors(&rig.topology.node).unwrap();
    assert_eq!(on_node, 0, "offloads {offloads}: checksums that the node found wrong");
    for reason in ["source_mac", "source_ipv4", "source_ipv6", "arp_sender", "malformed", "oversized"] {
        assert_eq!(rig.counter(&format!("/drops/{reason}")), 0, "{reason}");
    }
}
