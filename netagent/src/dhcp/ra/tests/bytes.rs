// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes against the figures of RFC 4861, RFC 4191 and RFC 8106, and what gives way.

use super::*;

/// The message of an advertisement, from its type on.
fn message(advert: &Advert) -> Vec<u8> {
    let sent = advertise(advert);
    assert_eq!(sent.left_out, Vec::<u8>::new());
    Read::of(&sent.frame);
    sent.frame[54..].to_vec()
}

fn plain() -> Advert {
    Advert { mtu: 0, prefixes: vec![], routes: vec![], dns: vec![], search: vec![], ..advert() }
}

/// The options of an advert that has no others.
fn options(advert: &Advert) -> Vec<u8> {
    message(advert)[16..].to_vec()
}

#[test]
fn rfc_4861_4_2_fixed_part() {
    let message = message(&Advert { router_lifetime: 1800, other: false, ..plain() });
    assert_eq!(message.len(), 16);
    // Type, code, (checksum,) current hop limit, M and O, router lifetime, reachable time, retransmission timer.
    assert_eq!(message[..2], [134, 0]);
    assert_eq!(message[4..], [0, 0x80, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(self::message(&plain())[5], 0xc0);
    let silent = Advert { managed: false, other: false, ..plain() };
    assert_eq!(self::message(&silent)[5], 0);
}

#[test]
fn rfc_4861_4_6_4_mtu() {
    assert_eq!(options(&Advert { mtu: 1450, ..plain() }), [5, 1, 0, 0, 0, 0, 0x05, 0xaa]);
    assert_eq!(options(&Advert { mtu: 9000, ..plain() }), [5, 1, 0, 0, 0, 0, 0x23, 0x28]);
    // A guest ignores one that IPv6 does not allow.
    assert_eq!(options(&Advert { mtu: 1279, ..plain() }), Vec::<u8>::new());
    assert_eq!(options(&Advert { mtu: 1280, ..plain() }).len(), 8);
}

#[test]
fn rfc_4861_4_6_2_prefix_information() {
    let advert = Advert { lifetime: 0x01_02_03_04, prefixes: vec![net("2001:db8:1:2::77/64")], ..plain() };
    let expected = [
        &[3, 4, 64, 0x80][..],
        &[1, 2, 3, 4],
        &[1, 2, 3, 4],
        &[0, 0, 0, 0],
        &[0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(options(&advert), expected.concat());
}

#[test]
fn rfc_4191_2_3_route_information() {
    let route = |route: &str| options(&Advert { lifetime: 600, routes: vec![net(route)], ..plain() });
    assert_eq!(route("::/0"), [24, 1, 0, 0, 0, 0, 0x02, 0x58]);
    let short = [24, 2, 48, 0, 0, 0, 0x02, 0x58, 0x20, 0x01, 0x0d, 0xb8, 0, 2, 0, 0];
    assert_eq!(route("2001:db8:2::/48"), short);
    assert_eq!(route("2001:db8:2::/64")[..3], [24, 2, 64]);
    let long = route("2001:db8:2::9/128");
    assert_eq!(long[..8], [24, 3, 128, 0, 0, 0, 0x02, 0x58]);
    assert_eq!(long[8..], ip("2001:db8:2::9").octets());
    assert_eq!(route("2001:db8:2::/65").len(), 24);
}

#[test]
fn rfc_8106_5_1_recursive_dns_servers() {
    let dns = vec![ip("2001:db8::53"), ip("fd00::1")];
    let expected =
        [&[25, 5, 0, 0][..], &[0, 1, 0x51, 0x80], &ip("2001:db8::53").octets(), &ip("fd00::1").octets()];
    assert_eq!(options(&Advert { dns, ..plain() }), expected.concat());
}

#[test]
fn rfc_8106_5_2_search_list_is_not_compressed_and_padded() {
    let search = vec!["example.com".to_owned(), "eng.example.com.".to_owned()];
    let expected = [
        &[31, 5, 0, 0][..],
        &[0, 1, 0x51, 0x80],
        b"\x07example\x03com\x00",
        b"\x03eng\x07example\x03com\x00",
        &[0; 2],
    ];
    assert_eq!(options(&Advert { search, ..plain() }), expected.concat());
}

#[test]
fn odd_search_domains_are_dropped_and_the_rest_served() {
    let search = ["exa mple.com", "", "a..b", "ok.example", "$(reboot)"].map(String::from).to_vec();
    assert_eq!(read_all_of(&Advert { search, ..plain() }).search, [("ok.example".into(), 86_400)]);
    let none = Advert { search: vec!["a..b".into()], ..plain() };
    assert_eq!(options(&none), Vec::<u8>::new());
}

fn read_all_of(advert: &Advert) -> Read {
    Read::of(&advertise(advert).frame)
}

#[test]
fn all_that_an_advert_says_is_read_back() {
    let read = read_all_of(&advert());
    assert_eq!(
        read,
        Read {
            router: Some(ip("fe80::1")),
            flags: 0xc0,
            router_lifetime: 65_535,
            mtu: Some(1450),
            prefixes: vec![(net("2001:db8:1::/64"), 0x80, 86_400, 86_400)],
            routes: vec![(net("2001:db8:2::/48"), 0, 86_400)],
            dns: vec![(ip("2001:db8::53"), 86_400), (ip("2001:db8::54"), 86_400)],
            search: vec![("example.com".into(), 86_400), ("eng.example.com".into(), 86_400)],
        }
    );
}

#[test]
fn the_search_list_gives_way_first_then_routes() {
    let long = |i: usize| format!("{}.{i}.example", "x".repeat(40));
    let search: Vec<String> = (0..20).map(long).collect();
    let routes: Vec<Ipv6Net> = (0..40u16).map(|i| net(&format!("2001:db8:{i:x}::/48"))).collect();
    let wide = Advert { mtu: 9000, search, routes, ..advert() };
    let read = read_all_of(&wide);
    assert_eq!((read.search.len(), read.routes.len()), (20, 40));

    let narrow = Advert { mtu: 1500, ..wide.clone() };
    let sent = advertise(&narrow);
    assert!(sent.frame.len() <= 14 + 1500);
    assert_eq!(sent.left_out, [31]);
    let read = Read::of(&sent.frame);
    assert_eq!((read.search.len(), read.routes.len(), read.dns.len()), (0, 40, 2));

    // As many routes as fit, and nothing before them is lost.
    let routes: Vec<Ipv6Net> = (0..100u16).map(|i| net(&format!("2001:db8:{i:x}::/48"))).collect();
    let sent = advertise(&Advert { mtu: 1280, routes, ..wide });
    let read = Read::of(&sent.frame);
    assert!(sent.frame.len() <= 14 + 1280 && sent.frame.len() > 14 + 1280 - 16);
    assert_eq!((read.mtu, read.prefixes.len(), read.dns.len()), (Some(1280), 1, 2));
    assert_eq!(sent.left_out, [vec![24; 100 - read.routes.len()], vec![31]].concat());
}

#[test]
fn a_narrow_link_still_carries_what_ipv6_must() {
    let sent = advertise(&Advert { mtu: 576, ..advert() });
    assert_eq!(sent.left_out, Vec::<u8>::new());
    assert_eq!(Read::of(&sent.frame).mtu, None);
}

#[test]
fn more_servers_than_an_option_holds_take_two() {
    let dns: Vec<Ipv6Addr> = (0..130u16).map(|i| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, i)).collect();
    let read = read_all_of(&Advert { mtu: 9000, dns: dns.clone(), ..plain() });
    assert_eq!(read.dns.iter().map(|(server, _)| *server).collect::<Vec<_>>(), dns);
}

#[test]
fn a_search_list_longer_than_an_option_is_left_out() {
    let label = "x".repeat(60);
    let search: Vec<String> = (10..42).map(|i| format!("{label}.{label}.{i}")).collect();
    let sent = advertise(&Advert { mtu: 65_535, search, ..plain() });
    assert_eq!(sent.left_out, [31]);
}
