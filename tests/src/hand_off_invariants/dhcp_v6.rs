// SPDX-License-Identifier: MIT OR Apache-2.0
//! The DHCPv6 server: an answer is for the guest, from the server, whole, and hands out nothing but the port's addresses.

use std::{net::Ipv6Addr, time::Duration};

use dhcproto::{Decodable as _, Decoder, v6::Message};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use netagent::{
    core::ids::MacAddr,
    dhcp::v6::{self, Lease, Outcome, Reply},
};

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const GUEST_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
const SERVER: [u8; 6] = [0x02, 0x6e, 0x61, 0, 0, 1];
const SERVER_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x6e, 0x61ff, 0xfe00, 1);
const SERVER_DUID: [u8; 10] = [0, 3, 0, 1, 0x02, 0x6e, 0x61, 0, 0, 1];
const CLIENT_DUID: [u8; 10] = [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x17);
/// Every IPv6 link carries a packet of this length.
const LEAST_MTU: u16 = 1280;
const LIFETIME: u32 = 86_400;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_TA: u16 = 4;
const IA_ADDRESS: u16 = 5;
const STATUS_CODE: u16 = 13;
const IA_PD: u16 = 25;
const NTP_SERVER: u16 = 56;

/// The first byte chooses the lease, the second what the others are: a frame, a message, or a message's type and the
/// options behind the identifiers that it needs.
pub fn dhcp_v6(data: &[u8]) {
    let Some((&[kind, shape], rest)) = data.split_first_chunk() else { return };
    let lease = lease(kind);
    let message = match shape % 3 {
        0 => None,
        1 => Some(rest.to_vec()),
        _ => Some(message(rest)),
    };
    let frame = message.as_deref().map_or_else(|| rest.to_vec(), wrap);
    if let Outcome::Reply(reply) = v6::answer(&lease, &frame) {
        check(&lease, &frame, message.as_deref(), &reply);
    }
}

fn lease(kind: u8) -> Lease {
    let plain = Lease {
        client: MacAddr(GUEST),
        server_mac: MacAddr(SERVER),
        server_address: SERVER_ADDRESS,
        addresses: vec![ADDRESS],
        dns: vec![Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x0a)],
        search: ["default.svc.cluster.local", "cluster.local"].map(str::to_owned).into(),
        ntp: Vec::new(),
        mtu: 1450,
        lease_time: Duration::from_secs(LIFETIME.into()),
    };
    let address = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, n);
    match kind % 4 {
        0 => plain,
        // More addresses than a packet holds, on a link too small for IPv6.
        1 => Lease { addresses: (0..60).map(address).collect(), mtu: 0, ..plain },
        // Everything, and more of it than fits beside a few addresses.
        2 => Lease {
            addresses: (0..9).map(address).collect(),
            dns: vec![ADDRESS; 40],
            search: ["", "a..b", "$(x)", "ok.example"].map(str::to_owned).into(),
            ntp: vec![ADDRESS, ALL_SERVERS],
            mtu: LEAST_MTU,
            ..plain
        },
        // Nothing but addresses.
        _ => Lease { addresses: vec![ADDRESS, address(1)], dns: vec![], search: vec![], mtu: 9000, ..plain },
    }
}

/// A message of the type in the first byte, with these options behind the identifiers.
fn message(rest: &[u8]) -> Vec<u8> {
    let (kind, options) = rest.split_first().map_or((1, rest), |(kind, options)| (*kind, options));
    let mut message = vec![kind, 0xab, 0xcd, 0xef, 0, 1, 0, 10];
    message.extend(CLIENT_DUID);
    if matches!(kind, 3 | 5 | 8 | 9) {
        message.extend([0, 2, 0, 10]);
        message.extend(SERVER_DUID);
    }
    message.extend(options);
    message
}

fn wrap(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let written = PacketBuilder::ethernet2(GUEST, [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(GUEST_ADDRESS.octets(), ALL_SERVERS.octets(), 1)
        .udp(546, 547)
        .write(&mut frame, message);
    if written.is_err() {
        // Longer than a datagram can be.
        frame.clear();
    }
    frame
}

/// `message` is what the frame holds, where that is known.
fn check(lease: &Lease, frame: &[u8], message: Option<&[u8]>, reply: &Reply) {
    assert_eq!(frame[6..12], GUEST, "another client is answered");
    let packet = SlicedPacket::from_ethernet(&reply.frame).unwrap_or_else(|error| panic!("{error}"));
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("not IPv6") };
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("not UDP") };
    assert_eq!(reply.frame[..6], GUEST, "the answer is for somebody else");
    assert_eq!(reply.frame[6..12], SERVER);
    let header = ip.header().to_header();
    assert_eq!(header.source, SERVER_ADDRESS.octets());
    assert_eq!(header.destination, frame[22..38], "not where the message came from");
    assert_eq!((udp.source_port(), udp.destination_port()), (547, 546));
    let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
    assert_eq!(Ok(udp.checksum()), sum.map_err(|error| error.to_string()));
    let bytes = udp.payload();
    assert_eq!(reply.frame.len(), 14 + 40 + 8 + bytes.len(), "bytes behind the message");
    assert!(40 + 8 + bytes.len() <= usize::from(lease.mtu.max(LEAST_MTU)), "longer than the link carries");

    assert!(bytes[0] == 2 || bytes[0] == 7, "neither advertise nor reply");
    let options = walk(&bytes[4..]);
    let decoded = Message::decode(&mut Decoder::new(bytes)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(decoded.opts().iter().count(), options.len(), "dhcproto stops at an option");
    let values = |code: u16| options.iter().filter(move |(c, _)| *c == code).map(|(_, value)| *value);
    assert_eq!(values(SERVER_ID).collect::<Vec<_>>(), [SERVER_DUID]);
    if let Some(message) = message {
        assert_eq!(bytes[1..4], message[1..4], "another transaction");
        let sent = walk(&message[4..]).into_iter().find(|(code, _)| *code == CLIENT_ID);
        assert_eq!(values(CLIENT_ID).next(), sent.map(|(_, value)| value), "another client identifier");
    }
    let mut granted = 0;
    for (place, (code, value)) in options.iter().enumerate() {
        let repeats = options[..place].iter().any(|(known, _)| known == code);
        match *code {
            IA_NA => granted += usize::from(association(lease, frame, &value[12..])),
            IA_TA => assert!(!association(lease, frame, &value[4..]), "a temporary address"),
            IA_PD => assert!(!association(lease, frame, &value[12..]), "a prefix"),
            NTP_SERVER => {}
            _ => assert!(!repeats, "option {code} twice"),
        }
    }
    assert!(granted <= 1, "addresses in two associations");
}

/// Whether an association got addresses. One that did got all that fit, and each address that is not the port's was the
/// guest's own word and has no life in it.
fn association(lease: &Lease, frame: &[u8], inner: &[u8]) -> bool {
    let options = walk(inner);
    if let [(STATUS_CODE, status)] = options[..] {
        assert_ne!(status[..2], [0, 0], "success without addresses");
        return false;
    }
    assert!(!options.is_empty(), "neither addresses nor a status");
    let mut living = 0;
    for (code, value) in options {
        assert_eq!((code, value.len()), (IA_ADDRESS, 24));
        let lifetimes = &value[16..];
        assert_eq!(lifetimes[..4], lifetimes[4..], "preferred and valid lifetime");
        if lease.addresses.iter().any(|own| own.octets() == value[..16]) {
            assert_eq!(lifetimes[..4], LIFETIME.to_be_bytes());
            living += 1;
        } else {
            assert_eq!(lifetimes[..4], [0; 4], "an address that is not the port's");
            assert!(frame.windows(16).any(|bytes| bytes == &value[..16]), "an address from nowhere");
        }
    }
    assert!(living >= lease.addresses.len().min(36), "addresses gave way to something");
    true
}

/// Options of one level; panics where one does not end within it.
fn walk(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let code = u16::from_be_bytes([bytes[0], bytes[1]]);
        let end = 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        options.push((code, &bytes[4..end]));
        bytes = &bytes[end..];
    }
    options
}
