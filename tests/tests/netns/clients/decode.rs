// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every kind of answer with every kind of option, taken from the wire and decoded by tshark, which has no complaint.

use std::{collections::BTreeSet, net::Ipv6Addr, path::Path};

use anyhow::Result;
use etherparse::{IpNumber, PacketBuilder};
use netagent_tests::{
    agent::Agent,
    dialogue::Message,
    topology::{GATEWAY4, GATEWAY6, POD4, POD6, Pod},
    tshark,
};

use super::wire::{Wire, bytes};
use crate::{scene::Scene, wired::is_too_big};

/// What the agent says.
const ANSWERS: &str = "eth.src == 02:6e:61:00:00:01";
const SERVER_DUID: [u8; 14] = [0, 2, 0, 10, 0, 3, 0, 1, 0x02, 0x6e, 0x61, 0, 0, 1];
const TOLD: [&str; 14] = [
    "--ntp",
    "192.0.2.123,2001:db8::123",
    "--tftp-server",
    "tftp.example",
    "--boot-file",
    "boot.efi",
    "--option",
    "224=0x0aff",
    "--option",
    "254=text",
    "--domain",
    "example.org",
    "--lease-seconds",
    "3600",
];

/// So many that option 121 has two parts, of 9 bytes a route.
const ROUTES: u8 = 32;
const ROUTES6: u8 = 4;

/// Long names with nothing in common: option 119 has two parts.
fn domains() -> Vec<String> {
    (0..7).map(|n| format!("a-rather-long-name-{n}.of-a-zone-{n}.example{n}")).collect()
}

fn destination(n: u8) -> String {
    format!("203.0.113.{}/32", n * 4)
}

fn pod() -> Pod {
    let routes = (0..ROUTES).map(|n| (destination(n), GATEWAY4.to_string()));
    let routes6 = (0..ROUTES6).map(|n| (format!("2001:db8:{n}::/48"), GATEWAY6.to_string()));
    Pod {
        resolv_conf: format!(
            "search {}\nnameserver 10.96.0.10\nnameserver 10.96.0.11\nnameserver fd00:96::10\n",
            domains().join(" ")
        ),
        routes: routes.chain(routes6).collect(),
        ..Pod::default()
    }
}

fn ask_v4(wire: &mut Wire) -> Result<()> {
    let every: Vec<u8> = vec![55, 17, 1, 3, 6, 12, 15, 26, 28, 42, 51, 66, 67, 119, 121, 249, 224, 254, 54];
    let few = [55, 4, 1, 3, 6, 28];
    let size = [57, 2, 0x05, 0xdc];
    let identifier = [61, 7, 1, 2, 3, 4, 5, 6, 7];
    let kind = |kind: u8| [53, 1, kind];
    let address = |code: u8, [a, b, c, d]: [u8; 4]| [code, 4, a, b, c, d];
    let (own, server) = (POD4.octets(), GATEWAY4.octets());
    let none = [0; 4];
    for flags in [[0, 0], [0x80, 0]] {
        wire.v4(none, flags, &[&kind(1), &every, &size, &identifier], Message::OFFER)?;
    }
    wire.v4(none, [0, 0], &[&kind(1), &few], Message::OFFER)?;
    wire.v4(none, [0, 0], &[&kind(1)], Message::OFFER)?;
    let selecting = [&kind(3)[..], &address(50, own), &address(54, server), &every, &size];
    wire.v4(none, [0, 0], &selecting, Message::ACK)?;
    wire.v4(none, [0, 0], &[&kind(3), &address(50, own), &every], Message::ACK)?;
    wire.v4(own, [0, 0], &[&kind(3), &every, &size], Message::ACK)?;
    wire.v4(own, [0, 0], &[&kind(8), &every, &size], Message::ACK)?;
    wire.v4(none, [0, 0], &[&kind(3), &address(50, [10, 88, 0, 99]), &identifier], Message::NAK)
}

fn ask_v6(wire: &mut Wire) -> Result<()> {
    const ADVERTISE: Message = Message::V6(2);
    const REPLY: Message = Message::V6(7);
    let empty = [0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let with = |address: Ipv6Addr| {
        let head = [0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24];
        [&head[..], &address.octets(), &[0; 8]].concat()
    };
    let (own, other) = (with(POD6), with(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 7)));
    let temporary = [0, 4, 0, 4, 0, 0, 0, 2];
    let prefix = [0, 25, 0, 12, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    let second = [0, 3, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    wire.v6(1, &[&empty], ADVERTISE)?;
    wire.v6(1, &[&empty, &second, &temporary, &prefix], ADVERTISE)?;
    // Rapid commit.
    wire.v6(1, &[&empty, &[0, 14, 0, 0]], REPLY)?;
    wire.v6(3, &[&SERVER_DUID, &own], REPLY)?;
    wire.v6(4, &[&own], REPLY)?;
    wire.v6(4, &[&other], REPLY)?;
    wire.v6(5, &[&SERVER_DUID, &own], REPLY)?;
    wire.v6(5, &[&SERVER_DUID, &other, &prefix], REPLY)?;
    wire.v6(6, &[&own], REPLY)?;
    wire.v6(11, &[], REPLY)?;
    wire.v6(9, &[&SERVER_DUID, &own], REPLY)?;
    wire.v6(8, &[&SERVER_DUID, &own], REPLY)
}

/// All values of a field in what the agent said.
fn values(file: &Path, field: &str) -> BTreeSet<u32> {
    let rows = tshark::fields(file, ANSWERS, &[field]).unwrap();
    rows.iter().flatten().flat_map(|cell| cell.split(',')).filter_map(|value| value.parse().ok()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn tshark_has_no_complaint_of_any_answer() {
    crate::require_clients!();
    let scene = Scene::with(pod(), Agent::builder()).unwrap();
    scene.attach(&TOLD).unwrap();
    let guest = scene.guest().unwrap();
    let mut wire = Wire::open(&guest, &scene.topology).unwrap();
    ask_v4(&mut wire).unwrap();
    ask_v6(&mut wire).unwrap();
    wire.solicit_router().unwrap();

    wire.capture.stop().unwrap();
    let kinds = [Message::OFFER, Message::ACK, Message::NAK, Message::V6(2), Message::REPLY];
    let told = kinds.map(|kind| wire.told(kind).unwrap());
    assert_eq!(told, [4, 4, 1, 2, 10]);
    // Asked for once; the agent speaks unasked, too.
    let advertisements = wire.told(Message::Advertisement).unwrap();
    assert!(advertisements >= 1);
    let file = wire.capture.stop().unwrap();
    let (complaints, answers) = tshark::complaints(file, ANSWERS).unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(answers, told.iter().sum::<usize>() + advertisements);
    in_two_parts(file);
    // tshark found in them all that was asked for; what it cannot read, it would not name.
    let missing = |field: &str, wanted: &[u32]| -> Vec<u32> {
        let found = values(file, field);
        wanted.iter().copied().filter(|value| !found.contains(value)).collect()
    };
    assert_eq!(missing("dhcp.option.dhcp", &[2, 5, 6]), [0; 0]);
    let options = [1, 3, 6, 12, 15, 26, 42, 51, 53, 54, 56, 58, 59, 61, 66, 67, 119, 121, 224, 249, 254];
    assert_eq!(missing("dhcp.option.type", &options), [0; 0]);
    assert_eq!(missing("dhcpv6.msgtype", &[2, 7]), [0; 0]);
    assert_eq!(missing("dhcpv6.option.type", &[1, 2, 3, 5, 7, 13, 14, 23, 24, 25, 56]), [0; 0]);
    // MTU, prefix or route information, RDNSS, DNSSL.
    assert_eq!(missing("icmpv6.opt.type", &[5, 24, 25, 31]), [0; 0]);
}

/// Of the largest answers tshark has every route and every name, though the options have two parts each.
fn in_two_parts(file: &Path) {
    let whole = format!("{ANSWERS} && dhcp.option.dhcp == 5 && dhcp.option.type == 249");
    let names = [
        "dhcp.option.classless_static_route",
        "dhcp.option.dhcp_dns_domain_search_list_fqdn",
        "dhcp.option.type",
    ];
    let rows = tshark::fields(file, &whole, &names).unwrap();
    assert_eq!(rows.len(), 3, "selecting, renewing and informing itself, with room for all");
    for row in &rows {
        let [routes, names, options] = <&[String; 3]>::try_from(row.as_slice()).unwrap();
        let found: BTreeSet<&str> = routes.split(',').collect();
        for n in 0..ROUTES {
            let route = format!("20cb0071{:02x}0a580001", n * 4);
            assert!(found.contains(route.as_str()), "{route} is not in {routes}");
        }
        assert_eq!(names.split(',').collect::<Vec<_>>(), domains());
        for (option, parts) in [("121", 2), ("249", 2), ("119", 2)] {
            assert_eq!(options.split(',').filter(|found| *found == option).count(), parts, "{option}");
        }
    }
}

/// RFC 3692: a protocol that nobody has, so that what an error quotes has no checksum of its own.
const EXPERIMENT: IpNumber = IpNumber(253);

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn tshark_has_no_complaint_of_errors_about_long_frames() {
    crate::require_clients!();
    let scene = Scene::with(Pod { mtu: 1400, ..Pod::default() }, Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut wire = Wire::open(&guest, &scene.topology).unwrap();
    let node = bytes(&scene.topology.host_mac().unwrap()).unwrap();
    let ethernet = || PacketBuilder::ethernet2(wire.mac, node);
    let (mut long4, mut long6) = (Vec::new(), Vec::new());
    let payload = [0; 1430];
    ethernet().ipv4(POD4.octets(), GATEWAY4.octets(), 64).write(&mut long4, EXPERIMENT, &payload).unwrap();
    ethernet().ipv6(POD6.octets(), GATEWAY6.octets(), 64).write(&mut long6, EXPERIMENT, &payload).unwrap();
    wire.ask(&long4, "fragmentation needed", is_too_big).unwrap();
    wire.ask(&long6, "packet too big", is_too_big).unwrap();

    let file = wire.capture.stop().unwrap();
    let errors = "icmp.type == 3 || icmpv6.type == 2";
    let (complaints, frames) = tshark::complaints(file, errors).unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(frames, 2);
    let names = ["icmp.code", "icmp.mtu", "icmp.checksum.status", "icmpv6.code", "icmpv6.mtu"];
    let rows = tshark::fields(file, errors, &names).unwrap();
    assert_eq!(rows, [["4", "1400", "1", "", ""], ["", "", "", "0", "1400"]]);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn tshark_finds_the_usable_names_of_an_odd_search_list_in_ipv6() {
    crate::require_clients!();
    // Eight that no guest is told, in front of more than there is room for.
    let odd = format!(
        "{}.example {} a..b .c $(reboot) `id` b\u{fc}cher.example -d",
        "l".repeat(64),
        "n.".repeat(140)
    );
    let many: Vec<String> = (0..40).map(|n| format!("n{n}.example")).collect();
    let resolv_conf = format!("search {odd} {}\nnameserver fd00:96::10\n", many.join(" "));
    let scene = Scene::with(Pod { resolv_conf, ..Pod::default() }, Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut wire = Wire::open(&guest, &scene.topology).unwrap();
    wire.v6(11, &[], Message::REPLY).unwrap();
    wire.solicit_router().unwrap();

    wire.capture.stop().unwrap();
    let advertisements = wire.told(Message::Advertisement).unwrap();
    let file = wire.capture.stop().unwrap();
    for (kind, field, count) in [
        ("dhcpv6.msgtype == 7", "dhcpv6.search_list_entry", 1),
        ("icmpv6.type == 134", "icmpv6.opt.dnssl", advertisements),
    ] {
        let filter = format!("{ANSWERS} && {kind}");
        let (complaints, frames) = tshark::complaints(file, &filter).unwrap();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        assert_eq!(frames, count, "{kind}");
        for row in tshark::fields(file, &filter, &[field]).unwrap() {
            let names: Vec<&str> = row[0].split(',').map(|name| name.trim_end_matches('.')).collect();
            assert_eq!(names, many[..32], "{kind}");
        }
    }
    let log = scene.agent.log();
    for words in ["left names out", "search domains of more than 253 bytes are left out"] {
        assert!(log.contains(words), "`{words}` is not in {}", scene.agent.log_tail());
    }
}
