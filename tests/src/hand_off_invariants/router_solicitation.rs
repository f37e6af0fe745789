// SPDX-License-Identifier: MIT OR Apache-2.0
//! Router advertisements: only a valid solicitation of the guest is answered, by every router, and each answer is one that
//! a host believes (RFC 4861, section 6.1).

use netagent::{
    core::ids::MacAddr,
    dhcp::ra::{self, Advert, Outcome},
};

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: [u8; 6] = [0x02, 0x6e, 0x61, 0, 0, 1];
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Ethernet and IPv6 header.
const HEADERS: usize = 14 + 40;
const LEAST_MTU: usize = 1280;
const LIFETIME: u32 = 86_400;

/// The first byte chooses the adverts, the second what the others are: a frame, or a source's last byte (none for zero)
/// and the options behind it, with headers and checksum made right.
pub fn router_solicitation(data: &[u8]) {
    let Some((&[kind, shape], rest)) = data.split_first_chunk() else { return };
    let adverts = adverts(kind);
    let frame = if shape % 2 == 0 { rest.to_vec() } else { solicitation(rest) };
    let Outcome::Advertise(sent) = ra::answer(&adverts, &frame) else { return };
    is_valid(&adverts, &frame);
    assert_eq!(sent.len(), adverts.len(), "each router answers, once");
    for (advert, advertisement) in adverts.iter().zip(sent) {
        assert_eq!(advertisement.router, advert.router);
        check(advert, &advertisement.frame, &advertisement.left_out);
    }
}

fn adverts(kind: u8) -> Vec<Advert> {
    let plain = Advert {
        client: MacAddr(GUEST),
        server_mac: MacAddr(SERVER),
        router: [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
        router_lifetime: u16::MAX,
        managed: true,
        other: true,
        mtu: 1450,
        lifetime: LIFETIME,
        prefixes: "2001:db8:1::/64".parse().into_iter().collect(),
        routes: Vec::new(),
        dns: vec![[0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x0a].into()],
        search: ["default.svc.cluster.local", "a..b", "cluster.local"].map(str::to_owned).into(),
    };
    let routes =
        |count: u16| (0..count).filter_map(|i| format!("2001:db8:{i:x}::/48").parse().ok()).collect();
    let other = [0xfe80, 0, 0, 0, 0, 0, 0, 2].into();
    match kind % 4 {
        0 => vec![plain],
        // More than fits, on a link too small for IPv6.
        1 => vec![Advert { routes: routes(200), mtu: 0, ..plain }],
        // Two routers, one of them without a default route.
        2 => vec![
            Advert { router_lifetime: 0, router: other, routes: routes(3), ..plain.clone() },
            Advert { mtu: 9000, ..plain },
        ],
        _ => Vec::new(),
    }
}

fn solicitation(rest: &[u8]) -> Vec<u8> {
    let (last, options) = rest.split_first().unwrap_or((&0, &[]));
    let options = &options[..options.len().min(1400)];
    let mut source = [0; 16];
    if *last != 0 {
        source[..2].copy_from_slice(&[0xfe, 0x80]);
        source[15] = *last;
    }
    let mut frame = [&[0x33, 0x33, 0, 0, 0, 2][..], &GUEST, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend((options.len() as u16 + 8).to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(source);
    frame.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    frame.extend([133, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(options);
    let checksum = !sum(&frame[22..HEADERS], &frame[HEADERS..]);
    frame[HEADERS + 2..HEADERS + 4].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// RFC 4861, section 6.1.1, and that it is the guest who asks one of the routers.
fn is_valid(adverts: &[Advert], frame: &[u8]) {
    assert_eq!(frame[6..12], GUEST, "answered another station");
    assert_eq!(frame[12..15], [0x86, 0xdd, 0x60 | frame[14] & 15]);
    assert_eq!(frame[21], 255, "answered what a router forwarded");
    let source = &frame[22..38];
    assert_ne!(source[0], 0xff, "answered a group");
    let to_router = adverts.iter().any(|advert| advert.router.octets() == frame[38..54]);
    assert!(frame[38] == 0xff || to_router, "answered for others");
    let end = HEADERS + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let at = message(frame, end);
    assert_eq!(frame[at..at + 2], [133, 0]);
    assert_eq!(sum(&frame[22..HEADERS], &frame[at..end]), 0xffff, "answered a wrong checksum");
    for option in options(&frame[at + 8..end]) {
        assert!(option[0] != 1 || source != [0; 16], "answered a MAC without an address");
    }
}

/// Where the message begins, behind extension headers (RFC 8200, section 4).
fn message(frame: &[u8], end: usize) -> usize {
    let (mut next, mut at) = (frame[20], HEADERS);
    while next != 58 {
        let header = &frame[at..end];
        at += match next {
            44 => {
                // A fragment that is the whole packet (RFC 6946).
                assert_eq!((header[2], header[3] & !6), (0, 0), "answered a fragment");
                8
            }
            51 => (usize::from(header[1]) + 2) * 4,
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(header[1]) + 1) * 8,
            other => panic!("answered behind header {other}"),
        };
        next = header[0];
    }
    at
}

/// RFC 4861, section 6.1.2, and that it says what the advert says and nothing else.
fn check(advert: &Advert, frame: &[u8], left_out: &[u8]) {
    assert!(frame.len() <= 14 + LEAST_MTU.max(advert.mtu as usize), "{} bytes", frame.len());
    assert_eq!((&frame[..6], &frame[6..12]), (&ALL_NODES_MAC[..], &SERVER[..]));
    assert_eq!(frame[12..18], [0x86, 0xdd, 0x60, 0, 0, 0]);
    assert_eq!(usize::from(u16::from_be_bytes([frame[18], frame[19]])), frame.len() - HEADERS);
    assert_eq!(frame[20..22], [58, 255]);
    assert_eq!((&frame[22..38], &frame[38..54]), (&advert.router.octets()[..], &ALL_NODES[..]));
    let message = &frame[HEADERS..];
    assert_eq!(sum(&frame[22..HEADERS], message), 0xffff, "wrong checksum");
    assert_eq!((&message[..2], &message[4..6]), (&[134, 0][..], &[0, 0xc0][..]));
    assert_eq!(message[6..8], advert.router_lifetime.to_be_bytes());
    assert_eq!(message[8..16], [0; 8]);
    let options = options(&message[16..]);
    let count = |kind: u8| options.iter().filter(|option| option[0] == kind).count();
    let left_out = |kind: u8| left_out.iter().filter(|left| **left == kind).count();
    assert!(options.iter().all(|option| matches!(option[0], 3 | 5 | 24 | 25 | 31)));
    assert_eq!(count(5), usize::from(advert.mtu as usize >= LEAST_MTU));
    assert_eq!(count(3) + left_out(3), advert.prefixes.len());
    assert_eq!(count(24) + left_out(24), advert.routes.len());
    assert_eq!((count(25) + left_out(25), count(31) + left_out(31)), (1, 1));
    for option in options {
        let lifetime = if option[0] == 5 { continue } else { &option[4..8] };
        assert_eq!(lifetime, LIFETIME.to_be_bytes());
    }
}

fn options(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut options = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(rest[1]) * 8;
        assert!(length > 0 && length <= rest.len(), "an option of length {length}");
        let (option, behind) = rest.split_at(length);
        options.push(option);
        rest = behind;
    }
    options
}

/// The sum of pseudo header and message (RFC 8200, section 8.1).
fn sum(addresses: &[u8], message: &[u8]) -> u16 {
    let mut sum = message.len() as u64 + 58;
    for word in addresses.chunks(2).chain(message.chunks(2)) {
        sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC_OPTION: [u8; 8] = [1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn asks(options: &[u8]) -> Vec<u8> {
        solicitation(&[&[5][..], options].concat())
    }

    #[test]
    fn a_valid_solicitation_gets_as_far_as_the_checks() {
        for (kind, routers) in [(0, 1), (1, 1), (2, 2)] {
            let Outcome::Advertise(sent) = ra::answer(&adverts(kind), &asks(&MAC_OPTION)) else {
                panic!("no answer by adverts {kind}");
            };
            assert_eq!(sent.len(), routers);
            router_solicitation(&[&[kind, 1, 5][..], &MAC_OPTION].concat());
            router_solicitation(&[&[kind, 0][..], &asks(&MAC_OPTION)].concat());
        }
    }

    #[test]
    fn the_checks_refuse_what_should_not_be_answered() {
        type Spoil = fn(&mut Vec<u8>);
        let spoils: [Spoil; 6] = [
            |frame| frame[21] = 64,
            |frame| frame[6] ^= 1,
            |frame| frame[57] ^= 1,
            |frame| frame[22] = 0xff,
            |frame| frame[63] = 0,
            |frame| frame[38..54].fill(7),
        ];
        is_valid(&adverts(0), &asks(&MAC_OPTION));
        for (number, spoil) in spoils.into_iter().enumerate() {
            let mut frame = asks(&MAC_OPTION);
            spoil(&mut frame);
            let refused = std::panic::catch_unwind(|| is_valid(&adverts(0), &frame));
            assert!(refused.is_err(), "{number}");
        }
        let mut answer = ra::advertise(&adverts(0)[0]);
        check(&adverts(0)[0], &answer.frame, &answer.left_out);
        answer.frame[60] ^= 1;
        let wrong = std::panic::catch_unwind(|| check(&adverts(0)[0], &answer.frame, &answer.left_out));
        assert!(wrong.is_err());
    }
}
