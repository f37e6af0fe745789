// SPDX-License-Identifier: MIT OR Apache-2.0
//! An advert, a guest that solicits, and a reader of advertisements that shares no code with what it reads.

mod bytes;
mod changes;
mod properties;
mod schedule;
mod validity;

use std::net::Ipv6Addr;

use etherparse::PacketBuilder;
use ipnet::Ipv6Net;

use super::{Advert, Advertisement, Outcome, Silence, advertise, answer};
use crate::core::ids::MacAddr;

const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const SERVER_MAC: MacAddr = MacAddr([2, 0x6e, 0x61, 0, 0, 1]);
const ALL_ROUTERS: &str = "ff02::2";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn net(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

/// The default router of a pod with all that it can say.
fn advert() -> Advert {
    Advert {
        client: GUEST,
        server_mac: SERVER_MAC,
        router: ip("fe80::1"),
        router_lifetime: 65_535,
        managed: true,
        other: true,
        mtu: 1450,
        lifetime: 86_400,
        prefixes: vec![net("2001:db8:1::/64")],
        routes: vec![net("2001:db8:2::/48")],
        dns: vec![ip("2001:db8::53"), ip("2001:db8::54")],
        search: vec!["example.com".into(), "eng.example.com".into()],
    }
}

/// A guest's solicitation. The default is what a kernel sends that has a link-local address.
#[derive(Clone, Debug)]
struct Solicitation {
    mac: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    kind: u8,
    code: u8,
    options: Vec<u8>,
}

impl Default for Solicitation {
    fn default() -> Self {
        Self {
            mac: GUEST,
            source: ip("fe80::5054:ff:fe12:3456"),
            destination: ip(ALL_ROUTERS),
            hop_limit: 255,
            kind: 133,
            code: 0,
            options: [&[1, 1][..], &GUEST.0].concat(),
        }
    }
}

impl Solicitation {
    fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.mac.0, [0x33, 0x33, 0, 0, 0, 2])
            .ipv6(self.source.octets(), self.destination.octets(), self.hop_limit)
            .icmpv6_raw(self.kind, self.code, [0; 4])
            .write(&mut frame, &self.options)
            .unwrap();
        frame
    }

    fn asks(&self) -> Outcome {
        answer(&[advert()], &self.frame())
    }

    fn is_silent(&self, why: Silence) {
        assert_eq!(self.asks(), Outcome::Silent(why), "{self:?}");
    }
}

/// An advertisement as an outsider reads it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    router: Option<Ipv6Addr>,
    flags: u8,
    router_lifetime: u16,
    mtu: Option<u32>,
    /// Prefix, flags, valid and preferred lifetime.
    prefixes: Vec<(Ipv6Net, u8, u32, u32)>,
    /// Prefix, preference, lifetime.
    routes: Vec<(Ipv6Net, u8, u32)>,
    dns: Vec<(Ipv6Addr, u32)>,
    search: Vec<(String, u32)>,
}

impl Read {
    /// Reads a frame as RFC 4861, section 6.1.2 wants it, and refuses what that refuses.
    fn of(frame: &[u8]) -> Self {
        let be16 = |at: usize| u16::from_be_bytes(frame[at..at + 2].try_into().unwrap());
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[6..12], SERVER_MAC.0);
        assert_eq!(frame[12..14], [0x86, 0xdd]);
        assert_eq!(frame[14] >> 4, 6);
        assert_eq!(usize::from(be16(18)), frame.len() - 54);
        assert_eq!(frame[20..22], [58, 255], "ICMPv6, hop limit");
        assert_eq!(frame[22..24], [0xfe, 0x80], "its source is link-local");
        assert_eq!(frame[38..54], ip("ff02::1").octets());
        assert_eq!(checksum(frame), 0xffff);
        let message = &frame[54..];
        assert_eq!(message[..2], [134, 0]);
        assert_eq!(message[4], 0, "hop limit is the guest's own");
        assert_eq!(message[8..16], [0; 8], "and so are the timers");
        let mut read = Self {
            router: Some(<[u8; 16]>::try_from(&frame[22..38]).unwrap().into()),
            flags: message[5],
            router_lifetime: u16::from_be_bytes([message[6], message[7]]),
            ..Self::default()
        };
        let mut rest = &message[16..];
        while !rest.is_empty() {
            let length = usize::from(rest[1]) * 8;
            assert!(length > 0);
            read.option(rest[0], &rest[..length]);
            rest = &rest[length..];
        }
        read
    }

    fn option(&mut self, kind: u8, option: &[u8]) {
        let be32 = |at: usize| u32::from_be_bytes(option[at..at + 4].try_into().unwrap());
        let address = |at: usize| {
            let mut octets = [0; 16];
            let there = &option[at..option.len().min(at + 16)];
            octets[..there.len()].copy_from_slice(there);
            Ipv6Addr::from(octets)
        };
        match kind {
            3 => {
                assert_eq!((option.len(), be32(12)), (32, 0));
                let prefix = Ipv6Net::new(address(16), option[2]).unwrap();
                assert_eq!(prefix, prefix.trunc());
                self.prefixes.push((prefix, option[3], be32(4), be32(8)));
            }
            5 => {
                assert_eq!((option.len(), &option[2..4]), (8, &[0, 0][..]));
                assert_eq!(self.mtu.replace(be32(4)), None, "twice");
            }
            24 => {
                let least = match option[2] {
                    0 => 8,
                    1..=64 => 16,
                    _ => 24,
                };
                assert!(option.len() >= least);
                let prefix = Ipv6Net::new(address(8), option[2]).unwrap();
                assert_eq!(prefix, prefix.trunc());
                self.routes.push((prefix, option[3], be32(4)));
            }
            25 => {
                assert_eq!((option.len() % 16, &option[2..4]), (8, &[0, 0][..]));
                assert!(option.len() >= 24);
                let servers = (8..option.len()).step_by(16);
                self.dns.extend(servers.map(|at| (address(at), be32(4))));
            }
            31 => {
                assert_eq!(option[2..4], [0, 0]);
                self.search.extend(names(&option[8..]).into_iter().map(|name| (name, be32(4))));
            }
            other => panic!("option {other}"),
        }
    }
}

/// Names of RFC 1035, section 3.1, without compression; padding is what would be empty names.
fn names(mut rest: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((&length, after)) = rest.split_first() {
        if length == 0 {
            assert!(rest.iter().all(|byte| *byte == 0), "something stands behind the padding");
            break;
        }
        let (mut labels, mut length, mut at) = (Vec::new(), usize::from(length), after);
        while length > 0 {
            assert!(length <= 63);
            labels.push(std::str::from_utf8(&at[..length]).unwrap());
            at = &at[length..];
            length = usize::from(at[0]);
            at = &at[1..];
        }
        names.push(labels.join("."));
        rest = at;
    }
    assert!(!names.is_empty() && rest.len() < 8);
    names
}

/// The sum of pseudo header and message (RFC 8200, section 8.1), which a right checksum makes all ones.
fn checksum(frame: &[u8]) -> u16 {
    let message = &frame[54..];
    let mut sum = message.len() as u64 + 58;
    for part in [&frame[22..54], message] {
        for word in part.chunks(2) {
            sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Reads the advertisements that a frame is answered with.
fn read_all(outcome: Outcome) -> Vec<Read> {
    let Outcome::Advertise(sent) = outcome else { panic!("{outcome:?}") };
    sent.iter().map(|Advertisement { frame, .. }| Read::of(frame)).collect()
}
