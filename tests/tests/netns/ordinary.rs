// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an honest guest and the node say to each other passes unchanged, on every way and with offloads on and off:
//! nothing is refused, and no receiver finds a wrong checksum.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use netagent_tests::{
    agent::Agent,
    exchange,
    netns::Netns,
    packet_socket::PacketSocket,
    poll,
    stand_in::{GUEST_LINK, StandIn, StandInSpec},
    tap::Offloads,
    topology::{GATEWAY4, GATEWAY6, HOST_LINK, POD4, POD6, Pod},
};

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, configure, ping_both_ways, wait_ping},
    segments::big_segments,
};

/// Bytes each way over TCP: thousands of packets without offloads.
const STREAM: usize = 4 << 20;
const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x4e41, 1);
const IGMP: u8 = 2;
const MLD_REPORT: u8 = 143;

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn ordinary_traffic_passes_peer_tcx_with_offloads() {
    ordinary_traffic_passes(&[], "peer", Offloads::On, 1500);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn ordinary_traffic_passes_plain_tcx_without_offloads() {
    ordinary_traffic_passes(&[], "plain", Offloads::Off, 1500);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn ordinary_traffic_passes_peer_clsact_without_offloads() {
    ordinary_traffic_passes(&["--without", "tcx"], "peer", Offloads::Off, 1500);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn ordinary_traffic_passes_plain_clsact_with_offloads_and_jumbo_frames() {
    ordinary_traffic_passes(&["--without", "tcx"], "plain", Offloads::On, 9000);
}

/// A pod, its port and a guest that has its addresses.
struct Street {
    scene: Scene,
    guest: StandIn,
}

impl Street {
    fn new(agent: &[&str], tier: &str, offloads: Offloads, mtu: u32) -> Self {
        let builder = agent.iter().fold(Agent::builder(), |builder, word| builder.arg(*word));
        let scene = Scene::with(Pod { mtu, ..Pod::default() }, builder).unwrap();
        let port = scene.attach(&["--tier", tier]).unwrap();
        let mac = port["guest"]["mac"].as_str().unwrap();
        let spec = StandInSpec { offloads, ..StandInSpec::new(TAP, mac) };
        let guest = StandIn::start(scene.pod(), &spec).unwrap();
        configure(&guest).unwrap();
        guest.guest.ip(&format!("link set {GUEST_LINK} mtu {mtu}")).unwrap();
        Self { scene, guest }
    }

    /// Node and guest with the addresses under which the other reaches them.
    fn ways(&self) -> [(&Netns, &Netns, SocketAddr); 4] {
        let (node, guest) = (self.scene.node(), &self.guest.guest);
        [
            (node, guest, (GATEWAY4, 0).into()),
            (guest, node, (POD4, 0).into()),
            (node, guest, (GATEWAY6, 0).into()),
            (guest, node, (POD6, 0).into()),
        ]
    }

    /// Nothing was refused but what the pod's own stack said, and every checksum was right.
    fn nothing_is_amiss(&self) {
        let port = self.scene.show().unwrap();
        let drops: Vec<_> = port["counters"]["drops"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(reason, count)| *reason != "pod_stack" && **count != 0)
            .collect();
        assert!(drops.is_empty(), "refused: {drops:?}");
        for netns in [self.scene.node(), &self.guest.guest] {
            assert_eq!(exchange::checksum_errors(netns).unwrap(), 0, "checksums in {}", netns.name());
        }
    }
}

fn ordinary_traffic_passes(agent: &[&str], tier: &str, offloads: Offloads, mtu: u32) {
    require_netns!();
    let street = Street::new(agent, tier, offloads, mtu);
    ping_both_ways(street.scene.node(), &street.guest.guest).unwrap();
    pings_of_every_size(&street, mtu);
    for (server, client, address) in street.ways() {
        exchange::tcp(server, client, address, STREAM).unwrap();
        let whole = mtu as usize - if address.is_ipv4() { 28 } else { 48 };
        // Up to the MTU in one packet, then in fragments.
        exchange::udp(server, client, address, &[1, 64, whole - 1, whole, whole + 1, 4000, 20_000, 60_000])
            .unwrap();
    }
    groups(&street);
    street.nothing_is_amiss();
}

/// Sizes around the MTU, with DF and without: what is too long is the sender's own kernel's affair.
fn pings_of_every_size(street: &Street, mtu: u32) {
    for (far, from, address) in street.ways() {
        let to = address.ip().to_string();
        let fits = mtu - if address.is_ipv4() { 28 } else { 48 };
        for (size, discovery, passes) in [
            (0, "do", true),
            (fits, "do", true),
            (fits + 1, "dont", true),
            (fits + 1, "do", false),
            (30_000, "dont", true),
        ] {
            let done = from
                .exec(&[
                    "ping",
                    "-n",
                    "-c",
                    "2",
                    "-i",
                    "0.01",
                    "-W",
                    "5",
                    "-s",
                    &size.to_string(),
                    "-M",
                    discovery,
                    &to,
                ])
                .unwrap();
            assert_eq!(
                done.code == 0,
                passes,
                "{size} bytes, {discovery}, to {} of {}: {done:?}",
                to,
                far.name()
            );
        }
    }
}

/// Groups that one side joins and the other sends to; the reports that say so arrive on the node.
fn groups(street: &Street) {
    let (node, guest) = (street.scene.node(), &street.guest.guest);
    let wire = PacketSocket::open(node, HOST_LINK).unwrap();
    node.ip(&format!("route add 239.0.0.0/8 dev {HOST_LINK}")).unwrap();
    guest.ip(&format!("route add 239.0.0.0/8 dev {GUEST_LINK}")).unwrap();
    for (member, link, own, sender, sender_link) in
        [(guest, GUEST_LINK, POD4, node, HOST_LINK), (node, HOST_LINK, GATEWAY4, guest, GUEST_LINK)]
    {
        let socket = member.run_inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353))).unwrap().unwrap();
        socket.join_multicast_v4(&GROUP4, &own).unwrap();
        receives(&socket, sender, (GROUP4, 5353).into());
        let socket = member.run_inside(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 5354))).unwrap().unwrap();
        socket.join_multicast_v6(&GROUP6, ifindex(member, link)).unwrap();
        let scope = ifindex(sender, sender_link);
        receives(&socket, sender, SocketAddrV6::new(GROUP6, 5354, 0, scope).into());
    }
    let mut seen = (false, false);
    poll::try_until("the guest's group reports on the node", SOON, || {
        while let Some(frame) = wire.recv(std::time::Duration::ZERO)? {
            // IPv4's protocol; behind a hop-by-hop header of 8 bytes, as reports have it, ICMPv6's type.
            seen.0 |= frame[12..14] == [0x08, 0x00] && frame[23] == IGMP;
            seen.1 |= frame[12..14] == [0x86, 0xdd] && frame[20] == 0 && frame.get(62) == Some(&MLD_REPORT);
        }
        Ok((seen == (true, true)).then_some(()))
    })
    .unwrap();
}

/// Sends until the member has it: the sender's address may have been chosen just now.
fn receives(member: &UdpSocket, sender: &Netns, group: SocketAddr) {
    let any: SocketAddr =
        if group.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = sender.run_inside(|| UdpSocket::bind(any)).unwrap().unwrap();
    socket.send_to(b"to the group", group).unwrap();
    member.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = [0u8; 64];
    let length = member.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"to the group");
}

fn ifindex(netns: &Netns, link: &str) -> u32 {
    let shown = netns.ip_json(&format!("link show {link}")).unwrap();
    u32::try_from(shown[0]["ifindex"].as_u64().unwrap()).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_guest_finds_its_link_local_address_free_or_taken() {
    require_netns!();
    let street = Street::new(&[], "peer", Offloads::On, 1500);
    let guest = &street.guest.guest;
    let key = |name: &str| format!("ipv6/conf/{GUEST_LINK}/{name}");
    guest.sysctl(&key("accept_dad"), "1").unwrap();
    // EUI-64, then one that is stable and says nothing of the MAC (RFC 7217).
    for mode in ["0", "3"] {
        guest.ip(&format!("link set {GUEST_LINK} down")).unwrap();
        guest.sysctl(&key("addr_gen_mode"), mode).unwrap();
        guest.ip(&format!("link set {GUEST_LINK} up")).unwrap();
        let address = poll::try_until("a link-local address that is nobody else's", SOON, || {
            let shown = guest.ip_json(&format!("-6 address show dev {GUEST_LINK} scope link"))?;
            let one = &shown[0]["addr_info"][0];
            let usable = one["tentative"].is_null() && one["dadfailed"].is_null();
            Ok(one["local"].as_str().filter(|_| usable).map(str::to_owned))
        })
        .unwrap();
        wait_ping(street.scene.node(), &format!("{address}%{HOST_LINK}")).unwrap();
    }
    // Somebody on the node has the next one.
    let taken = "fe80::77";
    street.scene.node().ip(&format!("address add {taken}/64 dev {HOST_LINK} nodad")).unwrap();
    guest.ip(&format!("address add {taken}/64 dev {GUEST_LINK}")).unwrap();
    poll::try_until("the guest to learn that the address is taken", SOON, || {
        let shown = guest.ip_json(&format!("-6 address show dev {GUEST_LINK} scope link"))?;
        let failed = shown[0]["addr_info"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["local"] == taken && one["dadfailed"] == true));
        Ok(failed.then_some(()))
    })
    .unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn segments_beyond_64_kib_from_the_node_arrive_in_the_guest() {
    require_netns!();
    let street = Street::new(&[], "peer", Offloads::On, 1500);
    big_segments(street.scene.node(), HOST_LINK).unwrap();
    let wire = PacketSocket::open(street.scene.pod(), netagent_tests::topology::POD_LINK).unwrap();
    for address in [(POD4, 0).into(), SocketAddr::from((POD6, 0))] {
        exchange::tcp(&street.guest.guest, street.scene.node(), address, STREAM).unwrap();
        let mut longest = 0;
        while let Some(frame) = wire.recv(std::time::Duration::ZERO).unwrap() {
            longest = longest.max(frame.len());
        }
        assert!(longest > 70_000, "{address}: the longest segment has {longest} bytes");
    }
    street.nothing_is_amiss();
}
