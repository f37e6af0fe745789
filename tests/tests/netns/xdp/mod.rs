// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tier `xdp`: forwards by XDP what is complete in its bytes, leaves the rest to tc, and says why where it cannot be.

mod life;
mod obstacles;

use std::time::Duration;

use anyhow::Context as _;
use etherparse::{PacketBuilder, PacketBuilderStep, UdpHeader};
use netagent_tests::{
    attached, ethtool,
    iperf::{self, Iperf},
    lease::DhcpClient,
    packet_socket::PacketSocket,
    poll,
    stand_in::{StandIn, StandInSpec},
    tap::{Offloads, Tap, TapSpec, VNET_HEADER},
    topology::{GATEWAY4, HOST_LINK, POD_LINK, POD4, POD6, Topology},
};
use serde_json::Value;

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, configure, is_pods, lease, number, ping_both_ways},
};

/// What a host peer must not leave to the device, and what it must do, as `ethtool -K` is told by the refusal.
const QUIET: [(&str, bool); 5] = [
    ("tx-checksum-ip-generic", false),
    ("tx-checksum-sctp", false),
    ("tx-vlan-hw-insert", false),
    ("tx-vlan-stag-hw-insert", false),
    ("rx-gro", true),
];
/// Ends the frames that tests send.
const MARK: &[u8] = b"a frame of this test";
const MARKS: u64 = 20;

fn quiet(topology: &Topology) {
    ethtool::switch(&topology.node, HOST_LINK, &QUIET).unwrap();
}

fn scene() -> Scene {
    let scene = Scene::new().unwrap();
    quiet(&scene.topology);
    scene
}

/// A guest whose card leaves nothing to anybody.
fn plain_guest(scene: &Scene, port: &Value) -> StandIn {
    let spec = StandInSpec {
        offloads: Offloads::Off,
        ..StandInSpec::new(TAP, port["guest"]["mac"].as_str().unwrap())
    };
    StandIn::start(scene.pod(), &spec).unwrap()
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn marked(packet: PacketBuilderStep<UdpHeader>) -> Vec<u8> {
    let mut frame = Vec::new();
    packet.write(&mut frame, MARK).unwrap();
    frame
}

/// How many frames with the mark a socket saw until it is quiet.
fn marks(socket: &PacketSocket) -> u64 {
    let mut seen = 0;
    while let Some(frame) = socket.recv(Duration::ZERO).unwrap() {
        seen += u64::from(frame.ends_with(MARK));
    }
    seen
}

fn wait_marks(socket: &PacketSocket, goal: u64) {
    let mut seen = 0;
    poll::wait_until("the frames to arrive", SOON, || {
        seen += marks(socket);
        (seen >= goal).then_some(())
    })
    .with_context(|| format!("{seen} of {goal}"))
    .unwrap();
    assert_eq!(seen, goal);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_is_complete_is_forwarded_by_xdp_alone() {
    require_netns!();
    let scene = scene();
    let port = scene.attach(&["--tier", "xdp"]).unwrap();
    assert_eq!(port["datapath"]["tier"], "xdp");
    assert_eq!(port["datapath"]["reason"], "asked for; proved: 10.88.0.1 answered");
    let native: Vec<_> = attached::programs(scene.pod())
        .unwrap()
        .into_iter()
        .filter(|one| one.hook == "driver")
        .map(|one| one.link)
        .collect();
    assert_eq!(native, [POD_LINK, TAP]);

    // A packet socket sees what becomes an skb; XDP comes before that.
    let (guest_mac, host_mac) = (scene.topology.pod_mac().unwrap(), scene.topology.host_mac().unwrap());
    let guest = Tap::open(scene.pod(), TAP, TapSpec { offloads: Offloads::Off, multi_queue: false }).unwrap();
    let (wire, tap) =
        (PacketSocket::open(scene.node(), HOST_LINK).unwrap(), PacketSocket::open(scene.pod(), TAP).unwrap());
    let frame = marked(
        PacketBuilder::ethernet2(mac(&guest_mac), mac(&host_mac))
            .ipv4(POD4.octets(), GATEWAY4.octets(), 64)
            .udp(5000, 5001),
    );
    // The self-test's question is counted as the guest's.
    let before = number(&scene.show().unwrap(), "/counters/from_vm/packets").unwrap();
    for _ in 0..MARKS {
        guest.send(&frame).unwrap();
    }
    wait_marks(&wire, MARKS);
    assert_eq!(marks(&tap), 0, "XDP passed frames on that it should forward");
    let port = scene.show().unwrap();
    assert_eq!(number(&port, "/counters/from_vm/packets").unwrap(), before + MARKS, "{port}");

    let pod = PacketSocket::open(scene.pod(), POD_LINK).unwrap();
    let frame = marked(
        PacketBuilder::ethernet2(mac(&host_mac), mac(&guest_mac))
            .ipv4(GATEWAY4.octets(), POD4.octets(), 64)
            .udp(5001, 5000),
    );
    let (mut arrived, length) = (0, frame.len());
    for _ in 0..MARKS {
        wire.send(&frame).unwrap();
    }
    poll::wait_until("the frames to arrive", SOON, || {
        while let Ok(Some(frame)) = guest.recv(Duration::ZERO) {
            // The node's ICMP errors about the guest's own frames quote them to their end.
            arrived += u64::from(frame.len() == length && frame.ends_with(MARK));
        }
        (arrived >= MARKS).then_some(())
    })
    .unwrap();
    assert_eq!((arrived, marks(&pod)), (MARKS, 0));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_guest_without_offloads_has_all_it_had() {
    require_netns!();
    let scene = scene();
    let port = scene.attach(&["--tier", "xdp"]).unwrap();
    let guest = plain_guest(&scene, &port);
    assert!(is_pods(lease(&guest, DhcpClient::Dhclient).unwrap().address), "DHCP goes by the punt ring");
    configure(&guest).unwrap();
    ping_both_ways(scene.node(), &guest.guest).unwrap();
    tcp_both_ways(&scene, &guest, 5201);
    assert_no_drops(&scene.show().unwrap());
}

/// The receivers' kernels check every checksum: a wrong one would be a stall.
fn tcp_both_ways(scene: &Scene, guest: &StandIn, number: u16) {
    let log = scene.agent.dir().join("iperf3.log");
    let _server = iperf::server(&guest.guest, number, &log).unwrap();
    for run in
        [Iperf::to(POD4, 1), Iperf::to(POD4, 1).reverse(), Iperf::to(POD6, 1), Iperf::to(POD6, 1).reverse()]
    {
        let report = run.port(number).run(scene.node()).unwrap();
        assert!(report.received_bits_per_second() > 1e6, "{report:?}");
    }
}

fn assert_no_drops(port: &Value) {
    let drops = port["counters"]["drops"].as_object().unwrap();
    let refused: Vec<_> = drops
        .iter()
        // The pod's stack speaks up when it likes, and neighbours' group reports are for nobody here.
        .filter(|(reason, _)| !["pod_stack", "destination"].contains(&reason.as_str()))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_a_guest_leaves_to_the_device_goes_by_tc_and_arrives() {
    require_netns!();
    let scene = scene();
    scene.attach(&["--tier", "xdp"]).unwrap();
    // Partial checksums and unsegmented TCP of a whole stack.
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    ping_both_ways(scene.node(), &guest.guest).unwrap();
    tcp_both_ways(&scene, &guest, 5201);
    // And somebody on the node turns offloads on again, behind the port's back.
    ethtool::switch(scene.node(), HOST_LINK, &[("tx-checksum-ip-generic", true)]).unwrap();
    tcp_both_ways(&scene, &guest, 5202);
    assert_no_drops(&scene.show().unwrap());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_partial_checksum_is_seen_and_finished() {
    require_netns!();
    let scene = scene();
    scene.attach(&["--tier", "xdp"]).unwrap();
    let (guest_mac, host_mac) = (scene.topology.pod_mac().unwrap(), scene.topology.host_mac().unwrap());
    let guest = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    let tap = PacketSocket::open(scene.pod(), TAP).unwrap();
    let socket = scene.node().run_inside(|| std::net::UdpSocket::bind((GATEWAY4, 5001))).unwrap().unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut frame = marked(
        PacketBuilder::ethernet2(mac(&guest_mac), mac(&host_mac))
            .ipv4(POD4.octets(), GATEWAY4.octets(), 64)
            .udp(5000, 5001),
    );
    // The sum of the pseudo header, as a driver leaves it: addresses, protocol 17, length.
    let words = [&frame[26..34], &[0, 17][..], &frame[38..40]].concat();
    let sum: u32 = words.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[40..42].copy_from_slice(&(((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    let mut header = [0; VNET_HEADER];
    // VIRTIO_NET_HDR_F_NEEDS_CSUM; csum_start 34, csum_offset 6.
    header[0] = 1;
    header[6..8].copy_from_slice(&34u16.to_ne_bytes());
    header[8..10].copy_from_slice(&6u16.to_ne_bytes());
    guest.send_with(header, &frame).unwrap();
    let mut text = [0; 64];
    let length = socket.recv(&mut text).unwrap();
    assert_eq!(&text[..length], MARK);
    assert_eq!(marks(&tap), 1, "it went by tc");

    // Without the header the same frame is simply wrong: it goes the same way, and the node drops it.
    guest.send(&frame).unwrap();
    poll::wait_until("the wrong frame to be counted", SOON, || (marks(&tap) == 1).then_some(())).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_guard_holds_in_xdp() {
    require_netns!();
    let scene = scene();
    scene.attach(&["--tier", "xdp"]).unwrap();
    let (own, host) = (mac(&scene.topology.pod_mac().unwrap()), mac(&scene.topology.host_mac().unwrap()));
    let other = [2, 0, 0, 0, 0, 9];
    let guest = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    let (wire, tap) =
        (PacketSocket::open(scene.node(), HOST_LINK).unwrap(), PacketSocket::open(scene.pod(), TAP).unwrap());
    let udp4 = |source, from: [u8; 4]| {
        marked(PacketBuilder::ethernet2(source, host).ipv4(from, GATEWAY4.octets(), 64).udp(5000, 5001))
    };
    let mut v6_source = [0xfd; 16];
    v6_source[15] = 9;
    let spoofed = [
        ("source_mac", udp4(other, POD4.octets())),
        ("source_ipv4", udp4(own, [10, 88, 0, 6])),
        ("source_ipv4", udp4(own, GATEWAY4.octets())),
        (
            "source_ipv6",
            marked(PacketBuilder::ethernet2(own, host).ipv6(v6_source, POD6.octets(), 64).udp(5000, 5001)),
        ),
    ];
    for (_, frame) in &spoofed {
        guest.send(frame).unwrap();
    }
    // What is good arrives behind them.
    guest.send(&udp4(own, POD4.octets())).unwrap();
    wait_marks(&wire, 1);
    assert_eq!(marks(&tap), 0, "XDP itself refuses them");
    let port = scene.show().unwrap();
    for (reason, count) in [("source_mac", 1), ("source_ipv4", 2), ("source_ipv6", 1)] {
        assert_eq!(number(&port, &format!("/counters/drops/{reason}")).unwrap(), count, "{reason}: {port}");
    }

    // Nor does the node reach past the guest's addresses.
    let stray =
        marked(PacketBuilder::ethernet2(host, own).ipv4(GATEWAY4.octets(), [10, 88, 0, 6], 64).udp(1, 2));
    let before = number(&port, "/counters/drops/destination").unwrap_or(0);
    wire.send(&stray).unwrap();
    scene
        .wait_port("the stray frame to be refused", |port| {
            number(port, "/counters/drops/destination").unwrap_or(0) > before
        })
        .unwrap();
}
