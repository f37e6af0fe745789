// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lease, a client that writes frames, and a reader of replies that trusts none of the code under test.

mod clients;
mod options;
mod properties;
mod states;

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use dhcproto::{Decodable, Decoder, v4::Message};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::{Lease, Outcome, Reply, Silence, answer};
use crate::core::ids::MacAddr;

pub(super) const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 75, 1);
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 129, 0, 17);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ZERO: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const MESSAGE_AT: usize = 14 + 20 + 8;

/// A pod with one gateway in its prefix, as bridge and host-local make it.
pub(super) fn lease() -> Lease {
    Lease {
        client: GUEST,
        server_mac: SERVER_MAC,
        server_id: SERVER,
        address: "10.129.0.17/23".parse().unwrap(),
        gateway: Some(Ipv4Addr::new(10, 129, 0, 1)),
        routes: Vec::new(),
        dns: vec![Ipv4Addr::new(10, 96, 0, 10), Ipv4Addr::new(1, 1, 1, 1)],
        search: ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(String::from).into(),
        domain: None,
        hostname: Some("vm-1".into()),
        mtu: 1450,
        ntp: Vec::new(),
        tftp_server: None,
        boot_file: None,
        private_options: BTreeMap::new(),
        lease_time: Duration::from_secs(24 * 3600),
    }
}

/// What a client puts into its frame. The default is a fresh client's broadcast.
#[derive(Clone, Debug)]
struct Client {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    xid: u32,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    chaddr: MacAddr,
    options: Vec<u8>,
}

impl Client {
    /// A client that sends these options, the message type first.
    fn sends(message_type: u8, options: &[&[u8]]) -> Self {
        let mut all = vec![53, 1, message_type];
        all.extend(options.concat());
        all.push(255);
        Self {
            source: ZERO,
            destination: Ipv4Addr::BROADCAST,
            xid: 0x1234_5678,
            flags: 0,
            ciaddr: ZERO,
            giaddr: ZERO,
            chaddr: GUEST,
            options: all,
        }
    }

    fn message(&self) -> Vec<u8> {
        let mut m = vec![1, 1, 6, 0];
        m.extend(self.xid.to_be_bytes());
        m.extend([0, 0]);
        m.extend(self.flags.to_be_bytes());
        m.extend(self.ciaddr.octets());
        m.extend([0; 8]);
        m.extend(self.giaddr.octets());
        m.extend(self.chaddr.0);
        m.extend([0; 10 + 64 + 128]);
        m.extend([99, 130, 83, 99]);
        m.extend(&self.options);
        m
    }

    fn frame(&self) -> Vec<u8> {
        wrap(self.source, self.destination, 67, &self.message())
    }

    fn asks(&self, lease: &Lease) -> Outcome {
        answer(lease, &self.frame())
    }

    fn is_replied(&self, lease: &Lease) -> Read {
        match self.asks(lease) {
            Outcome::Reply(reply) => Read::of(reply),
            other => panic!("expected a reply, got {other:?}"),
        }
    }
}

/// An option's bytes.
fn option(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()], value].concat()
}

fn wrap(source: Ipv4Addr, destination: Ipv4Addr, port: u16, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST.0, [0xff; 6])
        .ipv4(source.octets(), destination.octets(), 64)
        .udp(68, port)
        .write(&mut frame, message)
        .unwrap();
    frame
}

/// A reply as an outsider reads it: etherparse for the headers, dhcproto and a plain loop for the options.
struct Read {
    reply: Reply,
    mac: [u8; 6],
    ip: Ipv4Addr,
    message: Message,
    /// In wire order, parts of split options put together.
    options: Vec<(u8, Vec<u8>)>,
}

impl Read {
    fn of(reply: Reply) -> Self {
        let frame = reply.frame.clone();
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let ethernet = packet.link.clone().unwrap().to_header().unwrap().ethernet2().unwrap();
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
        let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("no UDP") };
        let header = ip.header().to_header();
        assert_eq!(ethernet.source, SERVER_MAC.0);
        assert_eq!(header.source, SERVER.octets());
        assert_eq!(header.time_to_live, 64);
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!((udp.source_port(), udp.destination_port()), (67, 68));
        let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
        assert_eq!(udp.checksum(), sum);
        assert_ne!(udp.checksum(), 0);

        let bytes = udp.payload();
        assert!(bytes.len() >= 300, "BOOTP's minimum: {}", bytes.len());
        assert_eq!(reply.frame.len(), MESSAGE_AT + bytes.len());
        assert_eq!(&bytes[..4], [2, 1, 6, 0]);
        assert!(bytes[34..44].iter().all(|b| *b == 0), "nothing behind the MAC");
        for field in [&bytes[44..108], &bytes[108..236]] {
            let end = field.iter().position(|b| *b == 0).expect("sname and file end in NUL");
            assert!(field[end..].iter().all(|b| *b == 0), "nothing behind the name");
        }
        assert_eq!(&bytes[236..240], [99, 130, 83, 99]);
        let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
        // A route takes up to 9 bytes, and what an operator puts into option 249 may look like one of 37.
        let is_full =
            |code: u8, len: usize| if matches!(code, 121 | 249) { len > 255 - 37 } else { len == 255 };
        let mut to_be_continued = None;
        let mut at = 240;
        while bytes[at] != 255 {
            let (code, len) = (bytes[at], usize::from(bytes[at + 1]));
            assert!(code != 0 && len > 0, "option {code} has no value");
            let value = &bytes[at + 2..at + 2 + len];
            match options.last_mut().filter(|_| to_be_continued == Some(code)) {
                Some((_, whole)) => whole.extend(value),
                None => options.push((code, value.to_vec())),
            }
            to_be_continued = is_full(code, len).then_some(code);
            at += 2 + len;
        }
        assert!(bytes[at + 1..].iter().all(|b| *b == 0), "only padding after the end option");
        let mut codes: Vec<u8> = options.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), options.len(), "an option stands there twice");

        let message = Message::decode(&mut Decoder::new(bytes)).unwrap();
        assert_eq!(message.opts().iter().count(), options.len(), "dhcproto decodes every option");
        assert_eq!(message.opts().msg_type().unwrap(), reply.message.code().into());
        let (mac, ip) = (ethernet.destination, header.destination.into());
        Self { mac, ip, message, options, reply }
    }

    fn codes(&self) -> Vec<u8> {
        self.options.iter().map(|(code, _)| *code).collect()
    }

    fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(c, _)| *c == code).map(|(_, value)| value.as_slice())
    }

    fn is_unicast_to(&self, address: Ipv4Addr) -> bool {
        self.mac == GUEST.0 && self.ip == address
    }

    fn is_broadcast(&self) -> bool {
        self.mac == [0xff; 6] && self.ip == Ipv4Addr::BROADCAST
    }
}

fn silent(silence: Silence) -> Outcome {
    Outcome::Silent(silence)
}
