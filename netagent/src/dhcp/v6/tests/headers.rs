// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is around a message: whose frame it is, and whether it is whole.

use std::net::Ipv6Addr;

use super::{ADDRESS, ALL_SERVERS, Client, FROM, IAID, Outcome, client_id, ia_na, lease, silent, wrap};
use crate::dhcp::v6::{Silence, answer};

fn solicit() -> Client {
    Client::sends(1, &[&client_id(), &ia_na(IAID, &[])])
}

#[test]
fn only_the_port_s_guest() {
    let mut frame = solicit().frame();
    frame[11] ^= 1;
    assert_eq!(answer(&lease(), &frame), silent(Silence::OtherClient));
}

#[test]
fn addresses() {
    let from = |source: &str| Client { source: source.parse().unwrap(), ..solicit() }.asks(&lease());
    assert!(matches!(from("fe80::1"), Outcome::Reply(_)));
    for source in ["::", "2001:db8:1::17", "ff02::1", "::1", "fec0::1"] {
        assert_eq!(from(source), silent(Silence::OtherSource), "{source}");
    }
    let to =
        |destination: &str| Client { destination: destination.parse().unwrap(), ..solicit() }.asks(&lease());
    for destination in ["ff05::1:3", "ff02::1", "fe80::1", "2001:db8:1::17"] {
        assert_eq!(to(destination), silent(Silence::OtherDestination), "{destination}");
    }
}

#[test]
fn headers() {
    let good = solicit().frame();
    let changed = |at: usize, value: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + value.len()].copy_from_slice(value);
        answer(&lease(), &frame)
    };
    let ip_len = u16::from_be_bytes([good[18], good[19]]);
    assert!(matches!(changed(14, &[0x60]), Outcome::Reply(_)));
    assert_eq!(changed(12, &[0x08, 0x00]), silent(Silence::NotDhcp), "IPv4");
    assert_eq!(changed(12, &[0x81, 0x00]), silent(Silence::NotDhcp), "VLAN");
    assert_eq!(changed(14, &[0x45]), silent(Silence::BadIpv6), "version");
    assert_eq!(changed(18, &(ip_len + 1).to_be_bytes()), silent(Silence::BadIpv6), "longer than the frame");
    assert_eq!(changed(18, &[0, 0]), silent(Silence::BadIpv6), "jumbogram");
    assert_eq!(changed(18, &7u16.to_be_bytes()), silent(Silence::BadUdp), "shorter than a UDP header");
    assert_eq!(changed(20, &[6]), silent(Silence::NotDhcp), "TCP");
    assert_eq!(changed(20, &[58]), silent(Silence::NotDhcp), "ICMPv6");
    assert_eq!(changed(56, &[2, 34]), silent(Silence::NotDhcp), "port");
    for udp_len in [0, 7, ip_len + 1] {
        assert_eq!(changed(58, &udp_len.to_be_bytes()), silent(Silence::BadUdp), "UDP length {udp_len}");
    }
    // Offloaded, absent, nonsense: not ours to judge.
    for sum in [[0, 0], [0, 0xd7], [0xde, 0xad]] {
        assert!(matches!(changed(60, &sum), Outcome::Reply(_)), "{sum:?}");
    }
    // Padding of the frame is no part of the message.
    assert!(matches!(answer(&lease(), &[&good[..], &[0xff; 40]].concat()), Outcome::Reply(_)));
    for len in 0..good.len() {
        assert!(matches!(answer(&lease(), &good[..len]), Outcome::Silent(_)), "{len} bytes");
    }
}

/// The frame with a header between IPv6 and UDP.
fn extended(kind: u8, header: &[u8]) -> Vec<u8> {
    let plain = wrap(FROM, ALL_SERVERS, 547, &solicit().message);
    let mut frame = [&plain[..54], header, &plain[54..]].concat();
    let len = u16::from_be_bytes([frame[18], frame[19]]) + u16::try_from(header.len()).unwrap();
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame[20] = kind;
    frame
}

#[test]
fn extension_headers() {
    // Hop-by-hop and destination options, each of one padding option.
    for kind in [0, 60] {
        let frame = extended(kind, &[17, 0, 1, 4, 0, 0, 0, 0]);
        assert!(matches!(answer(&lease(), &frame), Outcome::Reply(_)), "{kind}");
        assert_eq!(answer(&lease(), &extended(kind, &[17, 255, 1, 4, 0, 0, 0, 0])), silent(Silence::BadIpv6));
    }
    // A whole datagram with a fragment header, a first and a later fragment.
    assert!(matches!(answer(&lease(), &extended(44, &[17, 0, 0, 0, 0, 0, 0, 1])), Outcome::Reply(_)));
    for at in [[0, 1], [0, 8]] {
        let frame = extended(44, &[17, 0, at[0], at[1], 0, 0, 0, 1]);
        assert_eq!(answer(&lease(), &frame), silent(Silence::Fragment));
    }
    assert_eq!(answer(&lease(), &extended(0, &[59, 0, 1, 4, 0, 0, 0, 0])), silent(Silence::NotDhcp));
}

#[test]
fn the_reply_goes_where_the_message_came_from() {
    let source: Ipv6Addr = "fe80::abcd:1".parse().unwrap();
    let got = Client { source, ..solicit() }.is_replied(&lease());
    assert_eq!(got.to, source);
    assert_eq!(got.addresses()[0].0, ADDRESS);
}
