// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lease, a client that writes frames, and a reader of replies that trusts none of the code under test.

mod clients;
mod headers;
mod messages;
mod parameters;
mod properties;

use std::{net::Ipv6Addr, time::Duration};

use dhcproto::{
    Decodable, Decoder,
    v6::{DhcpOption, IAAddr, Message},
};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::{Lease, Outcome, Reply, Silence, answer};
use crate::core::ids::MacAddr;

const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
/// The guest's link-local address.
const FROM: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
const SERVER_MAC: MacAddr = MacAddr([2, 0x6e, 0x61, 0, 0, 1]);
const SERVER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x6e, 0x61ff, 0xfe00, 1);
const SERVER_DUID: [u8; 10] = [0, 3, 0, 1, 2, 0x6e, 0x61, 0, 0, 1];
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_DUID: [u8; 10] = [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x17);
const SECOND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x18);
const FOREIGN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x99);
const IAID: [u8; 4] = [0, 0x12, 0x34, 0x56];

/// A pod with two addresses.
fn lease() -> Lease {
    Lease {
        client: GUEST,
        server_mac: SERVER_MAC,
        server_address: SERVER,
        addresses: vec![ADDRESS, SECOND],
        dns: vec!["fd00:10:96::a".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        search: ["default.svc.cluster.local", "cluster.local"].map(String::from).into(),
        ntp: vec!["2001:db8::123".parse().unwrap()],
        mtu: 1450,
        lease_time: Duration::from_secs(24 * 3600),
    }
}

/// An option's bytes.
fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn client_id() -> Vec<u8> {
    option(1, &CLIENT_DUID)
}

fn server_id() -> Vec<u8> {
    option(2, &SERVER_DUID)
}

/// An IA_NA with these addresses.
fn ia_na(iaid: [u8; 4], addresses: &[Ipv6Addr]) -> Vec<u8> {
    let mut value = [&iaid[..], &[0; 8]].concat();
    for address in addresses {
        value.extend(option(5, &[&address.octets()[..], &[0; 8]].concat()));
    }
    option(3, &value)
}

/// What a client puts into its frame.
#[derive(Clone, Debug)]
struct Client {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: Vec<u8>,
}

impl Client {
    /// A client that sends these options to all servers.
    fn sends(message_type: u8, options: &[&[u8]]) -> Self {
        let message = [&[message_type, 0xab, 0xcd, 0xef][..], &options.concat()].concat();
        Self { source: FROM, destination: ALL_SERVERS, message }
    }

    fn frame(&self) -> Vec<u8> {
        wrap(self.source, self.destination, 547, &self.message)
    }

    fn asks(&self, lease: &Lease) -> Outcome {
        answer(lease, &self.frame())
    }

    fn is_replied(&self, lease: &Lease) -> Read {
        replied(lease, &self.frame())
    }
}

fn replied(lease: &Lease, frame: &[u8]) -> Read {
    match answer(lease, frame) {
        Outcome::Reply(reply) => Read::of(lease, reply),
        Outcome::Silent(silence) => panic!("expected a reply, got {silence:?}"),
    }
}

fn silent(silence: Silence) -> Outcome {
    Outcome::Silent(silence)
}

fn wrap(source: Ipv6Addr, destination: Ipv6Addr, port: u16, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(GUEST.0, [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(source.octets(), destination.octets(), 1)
        .udp(546, port)
        .write(&mut frame, message)
        .unwrap();
    frame
}

/// Options of one level, as a plain loop reads them.
fn walk(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let [code, len] = [0, 2].map(|at| u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        let end = 4 + usize::from(len);
        options.push((code, bytes[4..end].to_vec()));
        bytes = &bytes[end..];
    }
    options
}

/// A reply as an outsider reads it: etherparse for the headers, dhcproto and a plain loop for the options.
struct Read {
    reply: Reply,
    to: Ipv6Addr,
    message: Message,
    options: Vec<(u16, Vec<u8>)>,
}

impl Read {
    fn of(lease: &Lease, reply: Reply) -> Self {
        let frame = reply.frame.clone();
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let ethernet = packet.link.clone().unwrap().to_header().unwrap().ethernet2().unwrap();
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
        let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("no UDP") };
        let header = ip.header().to_header();
        assert_eq!((ethernet.source, ethernet.destination), (lease.server_mac.0, lease.client.0));
        assert_eq!(header.source, lease.server_address.octets());
        assert_eq!((udp.source_port(), udp.destination_port()), (547, 546));
        let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
        assert_eq!(udp.checksum(), sum);
        assert_ne!(udp.checksum(), 0);
        let bytes = udp.payload();
        assert_eq!(frame.len(), 14 + 40 + 8 + bytes.len(), "nothing behind the message");
        assert!(frame.len() <= 14 + usize::from(lease.mtu.max(1280)), "{} bytes", frame.len());

        let options = walk(&bytes[4..]);
        let mut once: Vec<u16> =
            options.iter().map(|(code, _)| *code).filter(|c| !MANY.contains(c)).collect();
        let count = once.len();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), count, "an option stands there twice");

        let message = Message::decode(&mut Decoder::new(bytes)).unwrap();
        assert_eq!(message.opts().iter().count(), options.len(), "dhcproto decodes every option");
        assert_eq!(u8::from(message.msg_type()), reply.message.code());
        let read = Self { to: header.destination.into(), message, options, reply };
        assert_eq!(read.option(2).unwrap(), [&[0, 3, 0, 1][..], &lease.server_mac.0].concat());
        for (address, lifetime) in read.addresses() {
            assert!(lifetime == 0 || lease.addresses.contains(&address), "{address} is not the port's");
        }
        read
    }

    fn codes(&self) -> Vec<u16> {
        self.options.iter().map(|(code, _)| *code).collect()
    }

    fn option(&self, code: u16) -> Option<&[u8]> {
        self.options.iter().find(|(c, _)| *c == code).map(|(_, value)| value.as_slice())
    }

    /// The addresses in all associations, with their lifetime, as dhcproto decodes them.
    fn addresses(&self) -> Vec<(Ipv6Addr, u32)> {
        let mut found = Vec::new();
        for option in self.message.opts().iter() {
            let inner = match option {
                DhcpOption::IANA(ia) => &ia.opts,
                DhcpOption::IATA(ia) => &ia.opts,
                _ => continue,
            };
            for option in inner.iter() {
                if let DhcpOption::IAAddr(IAAddr { addr, preferred_life, valid_life, opts }) = option {
                    assert_eq!((preferred_life, opts.iter().count()), (valid_life, 0));
                    found.push((*addr, *valid_life));
                }
            }
        }
        found
    }

    /// Code of the status in each association, by the association's code and number; `None` where it has none.
    fn statuses(&self) -> Vec<(u16, [u8; 4], Option<u16>)> {
        let associations = self.options.iter().filter(|(code, _)| [3, 4, 25].contains(code));
        associations
            .map(|(code, value)| {
                let inner = walk(&value[if *code == 4 { 4 } else { 12 }..]);
                let status = inner.iter().find(|(code, _)| *code == 13);
                (
                    *code,
                    value[..4].try_into().unwrap(),
                    status.map(|(_, value)| u16::from_be_bytes([value[0], value[1]])),
                )
            })
            .collect()
    }

    /// T1 and T2 of the first IA_NA.
    fn times(&self) -> (u32, u32) {
        let value = self.option(3).unwrap();
        let [t1, t2] = [4, 8].map(|at| u32::from_be_bytes(value[at..at + 4].try_into().unwrap()));
        (t1, t2)
    }
}

/// Options that may stand there repeatedly: associations, and one NTP server each.
const MANY: [u16; 4] = [3, 4, 25, 56];
