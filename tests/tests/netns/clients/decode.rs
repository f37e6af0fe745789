// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every kind of answer with every kind of option, taken from the wire and decoded by tshark, which has no complaint.

use std::{collections::BTreeSet, net::Ipv6Addr, path::Path};

use anyhow::{Context as _, Result};
use netagent_tests::{
    agent::Agent,
    capture::Capture,
    dialogue::Message,
    packet_socket::PacketSocket,
    poll,
    stand_in::GUEST_LINK,
    topology::{GATEWAY4, POD4, POD6, Pod},
    tshark,
};

use crate::scene::{SOON, Scene};

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

struct Wire {
    socket: PacketSocket,
    capture: Capture,
    mac: [u8; 6],
    /// Of the last request.
    number: u8,
}

impl Wire {
    /// Sends a frame and waits for one more answer of a kind.
    fn ask(&self, frame: &[u8], answer: Message) -> Result<()> {
        let count = || -> Result<usize> {
            let frames = self.capture.frames()?;
            Ok(frames.iter().filter(|frame| Message::of_frame(frame) == Some(answer)).count())
        };
        let before = count()?;
        self.socket.send(frame)?;
        poll::try_until(&format!("{answer}"), SOON, || Ok((count()? > before).then_some(())))
            .with_context(|| format!("as an answer to {:?}", Message::of_frame(frame)))
    }

    fn v4(&mut self, ciaddr: [u8; 4], flags: [u8; 2], options: &[&[u8]], answer: Message) -> Result<()> {
        self.number += 1;
        let mut message = vec![1, 1, 6, 0, 0, 0, 0, self.number, 0, 0];
        message.extend(flags);
        message.extend(ciaddr);
        message.extend([0; 12]);
        message.extend(self.mac);
        message.resize(236, 0);
        message.extend([0x63, 0x82, 0x53, 0x63]);
        message.extend(options.concat());
        message.push(255);
        let builder =
            etherparse::PacketBuilder::ethernet2(self.mac, [0xff; 6]).ipv4(ciaddr, [255; 4], 64).udp(68, 67);
        let mut frame = Vec::with_capacity(builder.size(message.len()));
        builder.write(&mut frame, &message)?;
        self.ask(&frame, answer)
    }

    fn v6(&mut self, kind: u8, options: &[&[u8]], answer: Message) -> Result<()> {
        self.number += 1;
        let mut message = vec![kind, 0, 0, self.number];
        // Client identifier (DUID-LL), elapsed time, and all options that one can ask for.
        message.extend([0, 1, 0, 10, 0, 3, 0, 1]);
        message.extend(self.mac);
        message.extend([0, 8, 0, 2, 0, 0, 0, 6, 0, 6, 0, 23, 0, 24, 0, 56]);
        message.extend(options.concat());
        let builder = etherparse::PacketBuilder::ethernet2(self.mac, [0x33, 0x33, 0, 1, 0, 2])
            .ipv6(self.link_local(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2).octets(), 1)
            .udp(546, 547);
        let mut frame = Vec::with_capacity(builder.size(message.len()));
        builder.write(&mut frame, &message)?;
        self.ask(&frame, answer)
    }

    fn solicit_router(&self) -> Result<()> {
        let builder = etherparse::PacketBuilder::ethernet2(self.mac, [0x33, 0x33, 0, 0, 0, 2])
            .ipv6(self.link_local(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2).octets(), 255)
            .icmpv6(etherparse::Icmpv6Type::Unknown { type_u8: 133, code_u8: 0, bytes5to8: [0; 4] });
        let mut frame = Vec::with_capacity(builder.size(0));
        builder.write(&mut frame, &[])?;
        self.ask(&frame, Message::Advertisement)
    }

    /// EUI-64: RFC 4291, appendix A.
    fn link_local(&self) -> [u8; 16] {
        let [a, b, c, d, e, f] = self.mac;
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]
    }
}

/// A pod with many routes and search domains. tshark 4.0 takes each part of a split option (RFC 3396) for an option of
/// its own, so each fits into one; splitting is for the vectors of the server.
fn pod() -> Pod {
    let domains: Vec<String> =
        (0..5).map(|n| format!("a-rather-long-name-{n}.of-a-zone-{n}.example{n}")).collect();
    let routes = (0..20).map(|n| (format!("203.0.113.{}/32", n * 4), "10.88.0.1".to_owned()));
    let routes6 = (0..4).map(|n| (format!("2001:db8:{n}::/48"), "fd00:88::1".to_owned()));
    Pod {
        resolv_conf: format!(
            "search {}\nnameserver 10.96.0.10\nnameserver 10.96.0.11\nnameserver fd00:96::10\n",
            domains.join(" ")
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
    let mac = scene.topology.pod_mac().unwrap();
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let mut wire = Wire {
        socket: PacketSocket::open(&guest.guest, GUEST_LINK).unwrap(),
        capture: Capture::start(&guest.guest, GUEST_LINK, "udp or icmp6").unwrap(),
        mac: mac.try_into().unwrap(),
        number: 0,
    };
    ask_v4(&mut wire).unwrap();
    ask_v6(&mut wire).unwrap();
    wire.solicit_router().unwrap();

    let file = wire.capture.stop().unwrap();
    let (complaints, answers) = tshark::complaints(file, ANSWERS).unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(answers >= 22, "only {answers} answers");
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
