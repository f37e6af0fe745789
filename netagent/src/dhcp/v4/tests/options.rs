// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which options a reply carries, in which order, and what gives way in a small message.

use std::{net::Ipv4Addr, time::Duration};

use super::{Client, Lease, Read, lease, option};
use crate::dhcp::v4::Route;

fn discover(lease: &Lease, options: &[&[u8]]) -> Read {
    Client::sends(1, options).is_replied(lease)
}

/// Routes whose option 121 takes 7 bytes each.
fn many_routes(count: u8) -> Vec<Route> {
    let gateway = Some(Ipv4Addr::new(10, 129, 0, 2));
    (0..count).map(|i| Route { destination: format!("172.{i}.0.0/16").parse().unwrap(), gateway }).collect()
}

#[test]
fn a_client_without_a_list_gets_all_but_the_microsoft_copy() {
    let lease = Lease { routes: many_routes(1), ..lease() };
    let got = discover(&lease, &[]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 12, 15, 26, 28, 119, 121]);
}

#[test]
fn the_list_decides_except_for_what_a_guest_cannot_do_without() {
    let lease = Lease { routes: many_routes(1), ..lease() };
    let got = discover(&lease, &[&option(55, &[26, 6, 26, 1, 53, 51, 200, 255, 0])]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 26, 6, 3, 121]);
}

#[test]
fn a_list_in_two_parts() {
    let got = discover(&lease(), &[&option(55, &[12]), &option(60, b"x"), &option(55, &[6])]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 12, 6, 3]);
}

#[test]
fn options_with_nothing_to_say_are_left_out() {
    let bare = Lease {
        gateway: None,
        dns: vec![],
        search: vec!["not a domain".into()],
        hostname: None,
        mtu: 0,
        address: "10.1.2.3/31".parse().unwrap(),
        ..lease()
    };
    let got = discover(&bare, &[]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1]);
    assert!(got.reply.left_out.is_empty());
}

#[test]
fn values() {
    let got = discover(&lease(), &[]);
    assert_eq!(got.option(1).unwrap(), [255, 255, 254, 0]);
    assert_eq!(got.option(3).unwrap(), [10, 129, 0, 1]);
    assert_eq!(got.option(6).unwrap(), [10, 96, 0, 10, 1, 1, 1, 1]);
    assert_eq!(got.option(12).unwrap(), b"vm-1");
    assert_eq!(got.option(26).unwrap(), 1450u16.to_be_bytes());
    assert_eq!(got.option(51).unwrap(), 86_400u32.to_be_bytes());
    assert_eq!(got.option(54).unwrap(), [169, 254, 75, 1]);
    assert_eq!(got.option(58).unwrap(), 43_200u32.to_be_bytes());
    assert_eq!(got.option(59).unwrap(), 75_600u32.to_be_bytes());
}

#[test]
fn a_lease_longer_than_32_bits_is_infinite_and_never_renewed() {
    let got = discover(&Lease { lease_time: Duration::MAX, ..lease() }, &[]);
    assert_eq!(got.option(51).unwrap(), [255; 4]);
    assert_eq!((got.option(58), got.option(59)), (None, None));
}

#[test]
fn long_options_are_split() {
    let lease = Lease { routes: many_routes(80), mtu: 1500, ..lease() };
    let got = discover(&lease, &[&option(57, &1500u16.to_be_bytes())]);
    // 80 of 7 bytes and the default route: three parts, put together by the reader.
    assert_eq!(got.option(121).unwrap().len(), 80 * 7 + 5);
    assert!(got.reply.left_out.is_empty());
}

#[test]
fn the_least_important_gives_way_in_a_small_message() {
    let wide = Lease { dns: vec![Ipv4Addr::new(9, 9, 9, 9); 40], routes: many_routes(10), ..lease() };
    let list = option(55, &[119, 249, 121, 6, 12, 28]);
    let got = discover(&wide, &[&list]);
    // Of 308 bytes 34 are for 53 to 1 and the end, 6 for 3, 77 for 121, 162 for 6. In the other 29 there is no room
    // for 119 (33) and 249 (77), but for 12 and 28.
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 121, 6, 12, 28, 3]);
    assert_eq!(got.reply.left_out, [119, 249]);
    assert!(got.reply.frame.len() <= 14 + 576);
    // The same for a client that takes more.
    let large = option(57, &1500u16.to_be_bytes());
    let got = discover(&wide, &[&list, &large]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 119, 249, 121, 6, 12, 28, 3]);
    // And when the link does not carry it.
    let got = discover(&Lease { mtu: 576, ..wide }, &[&list, &large]);
    assert_eq!(got.reply.left_out, [119, 249]);
}

#[test]
fn routes_that_do_not_fit_leave_the_router() {
    let got = discover(&Lease { routes: many_routes(100), ..lease() }, &[]);
    assert_eq!(got.reply.left_out, [121]);
    assert!(got.option(3).is_some());
}

#[test]
fn the_longest_client_identifier_fits_the_smallest_message() {
    let id = option(61, &[7; 255]);
    let got = discover(&lease(), &[&id, &option(57, &[0, 1])]);
    assert_eq!(got.option(61).unwrap(), [7; 255]);
    assert_eq!(got.option(3).unwrap(), [10, 129, 0, 1]);
    assert!(got.reply.frame.len() <= 14 + 576);
}

#[test]
fn options_in_overloaded_fields_count() {
    let mut message = Client::sends(1, &[&option(52, &[3])]).message();
    message[108..108 + 4].copy_from_slice(&[55, 2, 12, 255]); // file
    message[44..44 + 4].copy_from_slice(&[55, 1, 6, 255]); // sname
    let frame = super::wrap(super::ZERO, Ipv4Addr::BROADCAST, 67, &message);
    let super::Outcome::Reply(reply) = super::answer(&lease(), &frame) else { panic!("no reply") };
    assert_eq!(Read::of(reply).codes(), [53, 54, 51, 58, 59, 1, 12, 6, 3]);
}

/// What an operator may lay over the pod's word.
fn told() -> Lease {
    Lease {
        domain: Some("example.org".into()),
        ntp: vec![Ipv4Addr::new(192, 0, 2, 123), Ipv4Addr::new(192, 0, 2, 124)],
        tftp_server: Some("192.0.2.69".into()),
        boot_file: Some("boot/snponly.efi".into()),
        private_options: [(224, b"a".to_vec()), (254, vec![0, 255])].into(),
        ..lease()
    }
}

#[test]
fn overrides_are_served_to_who_asks_and_to_who_sends_no_list() {
    let got = discover(&told(), &[]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 12, 15, 26, 28, 42, 66, 67, 119, 224, 254]);
    let got = discover(&told(), &[&option(55, &[67, 66, 42, 15])]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 67, 66, 42, 15, 3, 224, 254]);
    assert_eq!(got.option(15).unwrap(), b"example.org");
    assert_eq!(got.option(42).unwrap(), [192, 0, 2, 123, 192, 0, 2, 124]);
    assert_eq!(got.option(66).unwrap(), b"192.0.2.69");
    assert_eq!(got.option(67).unwrap(), b"boot/snponly.efi");
    let got = discover(&told(), &[&option(55, &[1])]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 224, 254]);
}

#[test]
fn bootp_fields_say_what_66_and_67_say() {
    let text = |field: Option<&[u8]>| {
        String::from_utf8_lossy(field.unwrap_or_default()).trim_end_matches('\0').to_owned()
    };
    let got = discover(&told(), &[]);
    assert_eq!(got.message.siaddr(), Ipv4Addr::new(192, 0, 2, 69));
    assert_eq!(text(got.message.sname()), "192.0.2.69");
    assert_eq!(text(got.message.fname()), "boot/snponly.efi");
    // A name is no address, and a text that does not fit is in the option alone.
    let long = "x".repeat(128);
    let named = Lease { tftp_server: Some("tftp.lan".into()), boot_file: Some(long.clone()), ..lease() };
    let got = discover(&named, &[]);
    assert_eq!(got.message.siaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(text(got.message.sname()), "tftp.lan");
    assert_eq!(text(got.message.fname()), "");
    assert_eq!(got.option(67).unwrap(), long.as_bytes());
    // A refusal offers nothing to boot.
    let nak = Client::sends(3, &[&option(50, &[10, 0, 0, 1])]).is_replied(&told());
    assert_eq!((nak.codes(), nak.message.siaddr()), (vec![53, 54, 56], Ipv4Addr::UNSPECIFIED));
}

#[test]
fn private_options_are_sent_unasked_in_the_client_s_order_and_give_way_first() {
    let asked = discover(&told(), &[&option(55, &[254, 6])]);
    assert_eq!(asked.codes(), [53, 54, 51, 58, 59, 1, 254, 6, 3, 224]);
    assert_eq!(asked.option(254).unwrap(), [0, 255]);
    // Of 308 bytes 34 are taken, 6 by option 3 and 3 by 224; 261 bytes
    // fit as two parts, and one more does not.
    let large = |len| Lease { private_options: [(224, vec![7]), (225, vec![8; len])].into(), ..lease() };
    let got = discover(&large(261), &[&option(55, &[3])]);
    assert_eq!((got.option(225).unwrap().len(), got.reply.left_out.len()), (261, 0));
    let got = discover(&large(262), &[&option(55, &[3])]);
    assert_eq!((got.codes(), got.reply.left_out), (vec![53, 54, 51, 58, 59, 1, 3, 224], vec![225]));
}

#[test]
fn an_operator_s_own_249_takes_the_place_of_microsoft_s() {
    let own = Lease {
        routes: many_routes(1),
        private_options: [(249, vec![9]), (12, b"not for private use".to_vec())].into(),
        ..lease()
    };
    let got = discover(&own, &[&option(55, &[249])]);
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 249, 3, 121]);
    assert_eq!(got.option(249).unwrap(), [9]);
}

/// RFC 2132: code and length of the options that are served, as the sections lay them out (3.3, 3.5, 3.8, 3.14, 3.17,
/// 5.1, 5.3, 8.3, 9.2, 9.4 to 9.7, 9.9, 9.11, 9.12).
#[test]
fn rfc_2132_layouts() {
    let got = discover(&told(), &[&option(55, &[6, 12, 15, 26, 28, 42, 66, 67])]);
    let bytes = &got.reply.frame[super::MESSAGE_AT + 240..];
    let expected: [&[u8]; 16] = [
        &[53, 1, 2],
        &[54, 4, 169, 254, 75, 1],
        &[51, 4, 0, 1, 0x51, 0x80],
        &[58, 4, 0, 0, 0xa8, 0xc0],
        &[59, 4, 0, 1, 0x27, 0x50],
        &[1, 4, 255, 255, 254, 0],
        &[6, 8, 10, 96, 0, 10, 1, 1, 1, 1],
        b"\x0c\x04vm-1",
        b"\x0f\x0bexample.org",
        &[26, 2, 0x05, 0xaa],
        &[28, 4, 10, 129, 1, 255],
        &[42, 8, 192, 0, 2, 123, 192, 0, 2, 124],
        b"\x42\x0a192.0.2.69",
        b"\x43\x10boot/snponly.efi",
        &[3, 4, 10, 129, 0, 1],
        &[224, 1, b'a', 254, 2, 0, 255, 255],
    ];
    let expected = expected.concat();
    assert_eq!(&bytes[..expected.len()], expected);
}

/// RFC 3396, sections 5 to 7: parts of one option stand behind each other, each with code and length, all but the last
/// with 255 bytes; put together they are the value.
#[test]
fn rfc_3396_parts() {
    let value: Vec<u8> = (0..=255).chain(0..=255).collect();
    let lease = Lease { private_options: [(224, value.clone())].into(), ..lease() };
    let got = discover(&lease, &[&option(55, &[3]), &option(57, &[5, 0xdc])]);
    let bytes = &got.reply.frame[super::MESSAGE_AT + 240..];
    let at = bytes.windows(2).position(|pair| pair == [224, 255]).unwrap();
    let parts: [&[u8]; 6] =
        [&[224, 255], &value[..255], &[224, 255], &value[255..510], &[224, 2], &value[510..]];
    assert_eq!(bytes[at..][..512 + 6], parts.concat());
    assert_eq!(got.option(224).unwrap(), value);
}

/// RFC 3397, section 2: the example, which compresses over the whole value.
#[test]
fn rfc_3397_search_example() {
    let search = ["eng.apple.com.", "marketing.apple.com."].map(String::from).into();
    let got = discover(&Lease { search, ..lease() }, &[&option(55, &[119])]);
    assert_eq!(got.option(119).unwrap(), b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04");
}

/// RFC 3442, "Classless Route Option Format": the table's destinations, in a message.
#[test]
fn rfc_3442_table() {
    let gateway = Some(Ipv4Addr::new(10, 129, 0, 1));
    let destinations = [
        "10.0.0.0/8",
        "10.0.0.0/24",
        "10.17.0.0/16",
        "10.27.129.0/24",
        "10.229.0.128/25",
        "10.198.122.47/32",
        "0.0.0.0/0",
    ];
    let routes = destinations.map(|d| Route { destination: d.parse().unwrap(), gateway }).into();
    let got = discover(&Lease { routes, ..lease() }, &[&option(55, &[121])]);
    let descriptors: [&[u8]; 7] = [
        &[32, 10, 198, 122, 47],
        &[25, 10, 229, 0, 128],
        &[24, 10, 0, 0],
        &[24, 10, 27, 129],
        &[16, 10, 17],
        &[8, 10],
        &[0],
    ];
    let expected = descriptors.map(|d| [d, &[10, 129, 0, 1]].concat()).concat();
    assert_eq!(got.option(121).unwrap(), expected);
}
