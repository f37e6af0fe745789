// SPDX-License-Identifier: MIT OR Apache-2.0
//! The DHCPv4 server: an answer is for the guest, from the server, whole, and hands out nothing but the port's address.

use std::{net::Ipv4Addr, time::Duration};

use dhcproto::{Decodable as _, Decoder, v4::Message};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use netagent::{
    core::ids::MacAddr,
    dhcp::v4::{self, Lease, Outcome, Reply, Route},
};

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: [u8; 6] = [0x02, 0x6e, 0x61, 0, 0, 1];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 129, 0, 17);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 129, 0, 1);
/// Ethernet, IPv4 and UDP header of an answer.
const HEADERS: usize = 14 + 20 + 8;
/// Every IPv4 host takes a datagram of this length.
const LEAST_DATAGRAM: usize = 576;
/// BOOTP's fields and the cookie; and the least length of a message.
const FIXED: usize = 240;
const LEAST_MESSAGE: usize = 300;

/// The first byte chooses the lease, the second what the others are: a frame, what port 67 gets in a datagram, or the
/// options of a message that is sound otherwise.
pub fn dhcp_v4(data: &[u8]) {
    let Some((&[kind, shape], rest)) = data.split_first_chunk() else { return };
    let lease = lease(kind);
    let frame = match shape % 3 {
        0 => rest.to_vec(),
        1 => wrap(rest),
        _ => wrap(&message(rest)),
    };
    if let Outcome::Reply(reply) = v4::answer(&lease, &frame) {
        check(&lease, &reply);
    }
}

fn lease(kind: u8) -> Lease {
    let plain = Lease {
        client: MacAddr(GUEST),
        server_mac: MacAddr(SERVER),
        server_id: GATEWAY,
        address: "10.129.0.17/23".parse().unwrap_or_default(),
        gateway: Some(GATEWAY),
        routes: Vec::new(),
        dns: vec![Ipv4Addr::new(10, 96, 0, 10)],
        search: ["default.svc.cluster.local", "svc.cluster.local"].map(str::to_owned).into(),
        domain: None,
        hostname: Some("vm-1".to_owned()),
        mtu: 1450,
        ntp: Vec::new(),
        tftp_server: None,
        boot_file: None,
        private_options: Default::default(),
        lease_time: Duration::from_secs(86_400),
    };
    let route = |n: u8| Route {
        destination: format!("172.{n}.0.0/16").parse().unwrap_or_default(),
        gateway: Some(Ipv4Addr::new(169, 254, 1, n % 4)),
    };
    match kind % 4 {
        0 => plain,
        // A Calico pod with more routes than fit, odd names and a link too small for anything.
        1 => Lease {
            address: "10.129.0.17/32".parse().unwrap_or_default(),
            gateway: Some(Ipv4Addr::new(169, 254, 1, 1)),
            routes: (0..60).map(route).collect(),
            search: ["", "a..b", "$(x)", "ok.example"].map(str::to_owned).into(),
            hostname: Some("-".to_owned()),
            mtu: 68,
            ..plain
        },
        // Everything that an operator can add, the largest included.
        2 => Lease {
            routes: (0..9).map(route).collect(),
            dns: vec![GATEWAY; 8],
            domain: Some("example.org".to_owned()),
            ntp: vec![GATEWAY; 8],
            tftp_server: Some("192.0.2.69".to_owned()),
            boot_file: Some("x".repeat(255)),
            private_options: (224..=254).map(|code| (code, vec![code; usize::from(code) * 2])).collect(),
            mtu: 9000,
            lease_time: Duration::MAX,
            ..plain
        },
        // Nothing but an address.
        _ => Lease {
            gateway: None,
            dns: Vec::new(),
            search: Vec::new(),
            hostname: None,
            mtu: 0,
            lease_time: Duration::ZERO,
            ..plain
        },
    }
}

/// A message with these options: what is not an option is as a fresh client sends it.
fn message(options: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0, 1, 2, 3, 4];
    message.resize(28, 0);
    message.extend(GUEST);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99]);
    message.extend(options);
    message
}

/// A broadcast to port 67; empty when it is longer than a datagram can be.
fn wrap(message: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(GUEST, [0xff; 6]).ipv4([0; 4], [0xff; 4], 64).udp(68, 67);
    let mut frame = Vec::with_capacity(builder.size(message.len()));
    if builder.write(&mut frame, message).is_err() {
        frame.clear();
    }
    frame
}

fn check(lease: &Lease, reply: &Reply) {
    let frame = &reply.frame;
    let limit = 14 + usize::from(lease.mtu).max(LEAST_DATAGRAM);
    assert!(frame.len() <= limit, "{} bytes, and {limit} fit", frame.len());
    let packet = SlicedPacket::from_ethernet(frame).unwrap_or_else(|e| panic!("no frame: {e}"));
    let ethernet = packet.link.as_ref().and_then(|l| l.to_header()).and_then(|h| h.ethernet2());
    let Some(ethernet) = ethernet else { panic!("no Ethernet header") };
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("no UDP") };
    let header = ip.header().to_header();
    let broadcast = ethernet.destination == [0xff; 6];
    assert!(broadcast || ethernet.destination == GUEST, "for {:02x?}", ethernet.destination);
    assert_eq!(broadcast, header.destination == [0xff; 4], "both are broadcast, or none");
    assert_eq!((ethernet.source, header.source), (SERVER, lease.server_id.octets()));
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!((udp.source_port(), udp.destination_port()), (67, 68));
    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
    assert_eq!(sum.ok(), Some(udp.checksum()));

    let bytes = udp.payload();
    assert!(bytes.len() >= LEAST_MESSAGE, "{} bytes", bytes.len());
    assert_eq!(frame.len(), HEADERS + bytes.len());
    let message = Message::decode(&mut Decoder::new(bytes)).unwrap_or_else(|e| panic!("no message: {e}"));
    assert_eq!(message.chaddr(), GUEST);
    assert!([ADDRESS, Ipv4Addr::UNSPECIFIED].contains(&message.yiaddr()), "{}", message.yiaddr());
    assert_eq!(message.giaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(message.opts().msg_type(), Some(reply.message.code().into()));
    let codes = codes(bytes.get(FIXED..).unwrap_or_default());
    assert_eq!(message.opts().iter().count(), codes.len(), "dhcproto reads {message:?} of {codes:?}");
}

/// The options' codes in their order, parts of one as one; they must end, and stand there once.
fn codes(mut options: &[u8]) -> Vec<u8> {
    let mut codes: Vec<u8> = Vec::new();
    loop {
        match options {
            [255, padding @ ..] => {
                assert!(padding.iter().all(|b| *b == 0), "only padding comes behind the end");
                return codes;
            }
            [code, len, rest @ ..] if *len > 0 && rest.len() >= usize::from(*len) => {
                if codes.last() != Some(code) {
                    assert!(!codes.contains(code), "option {code} stands there twice");
                    codes.push(*code);
                }
                options = rest.get(usize::from(*len)..).unwrap_or_default();
            }
            _ => panic!("the options do not end after {codes:?}"),
        }
    }
}
