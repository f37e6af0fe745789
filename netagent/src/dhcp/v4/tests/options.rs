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
