// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which parameters a reply carries, their bytes, and what gives way in a small packet.

use std::{net::Ipv6Addr, time::Duration};

use super::{ADDRESS, Client, FOREIGN, IAID, Read, client_id, ia_na, lease, option, server_id};
use crate::dhcp::v6::{Lease, Status};

fn solicit(lease: &Lease, options: &[&[u8]]) -> Read {
    Client::sends(1, &[&[&client_id()[..], &ia_na(IAID, &[])], options].concat()).is_replied(lease)
}

fn list(codes: &[u16]) -> Vec<u8> {
    option(6, &codes.iter().flat_map(|code| code.to_be_bytes()).collect::<Vec<_>>())
}

#[test]
fn the_list_decides() {
    assert_eq!(solicit(&lease(), &[]).codes(), [1, 2, 7, 3, 23, 24]);
    assert_eq!(solicit(&lease(), &[&list(&[])]).codes(), [1, 2, 7, 3]);
    assert_eq!(solicit(&lease(), &[&list(&[24, 17, 24, 31, 3])]).codes(), [1, 2, 7, 3, 24]);
    assert_eq!(solicit(&lease(), &[&list(&[56, 23, 82, 32])]).codes(), [1, 2, 7, 3, 23, 56]);
}

#[test]
fn what_there_is_nothing_to_say_about() {
    let bare = Lease { dns: vec![], search: vec!["not a domain".into()], ntp: vec![], ..lease() };
    let got = solicit(&bare, &[&list(&[23, 24, 56])]);
    assert_eq!(got.codes(), [1, 2, 7, 3]);
    assert!(got.reply.left_out.is_empty());
    assert_eq!(bare.unusable_names().len(), 1);
}

/// An association and its address as RFC 8415, 21.4 and 21.6 draw them.
#[test]
fn rfc_8415_association() {
    let one = Lease { addresses: vec![ADDRESS], lease_time: Duration::from_secs(3600), ..lease() };
    let mut expected = vec![0, 0x12, 0x34, 0x56, 0, 0, 0x07, 0x08, 0, 0, 0x0c, 0x4e, 0, 5, 0, 24];
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x17]);
    expected.extend([0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10]);
    assert_eq!(solicit(&one, &[]).option(3).unwrap(), expected);
}

/// RFC 3646, sections 3 and 4; names without pointers (RFC 8415, section 10).
#[test]
fn rfc_3646_options() {
    let got = solicit(&lease(), &[]);
    let servers = [
        [0xfd, 0, 0, 0x10, 0, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a],
        [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53],
    ];
    assert_eq!(got.option(23).unwrap(), servers.concat());
    let names = b"\x07default\x03svc\x07cluster\x05local\x00\x07cluster\x05local\x00";
    assert_eq!(got.option(24).unwrap(), names);
}

/// RFC 5908, section 4: one server per option, unicast and multicast told apart.
#[test]
fn rfc_5908_options() {
    let ntp = vec!["2001:db8::123".parse().unwrap(), "ff05::101".parse().unwrap()];
    let got = solicit(&Lease { ntp, ..lease() }, &[&list(&[56])]);
    let values: Vec<_> = got.options.iter().filter(|(code, _)| *code == 56).map(|(_, v)| v.clone()).collect();
    let unicast = [0, 1, 0, 16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x23];
    let multicast = [0, 2, 0, 16, 0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    assert_eq!(values, [unicast, multicast]);
}

#[test]
fn a_lease_longer_than_32_bits_is_infinite_and_never_renewed() {
    let forever = Lease { lease_time: Duration::MAX, ..lease() };
    let got = solicit(&forever, &[]);
    assert_eq!(got.times(), (u32::MAX, u32::MAX));
    assert!(got.addresses().iter().all(|(_, lifetime)| *lifetime == u32::MAX));
    let refresh = |lease: &Lease| Client::sends(11, &[]).is_replied(lease).option(32).unwrap().to_vec();
    assert_eq!(refresh(&forever), [0xff; 4]);
    // Clients take less than ten minutes for ten minutes.
    assert_eq!(refresh(&Lease { lease_time: Duration::from_secs(60), ..lease() }), 600u32.to_be_bytes());
}

#[test]
fn parameters_give_way_and_the_association_does_not() {
    let many = (0..60u16).map(|i| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i)).collect();
    let wide = Lease { mtu: 1280, dns: many, ..lease() };
    let asked = list(&[23, 24, 56]);
    let got = solicit(&wide, &[&asked]);
    assert!(got.reply.left_out.is_empty(), "60 servers fit beside two addresses");
    let tight = Lease { addresses: vec![ADDRESS; 20], ..wide };
    let got = solicit(&tight, &[&asked]);
    assert_eq!((got.reply.left_out.clone(), got.addresses().len()), (vec![23], 20));
    assert_eq!(got.codes(), [1, 2, 7, 3, 24, 56]);
    // The link carries more.
    let got = solicit(&Lease { mtu: 9000, ..tight }, &[&asked]);
    assert_eq!(got.codes(), [1, 2, 7, 3, 23, 24, 56]);
}

#[test]
fn more_addresses_than_a_packet_holds() {
    let addresses = (0..60u16).map(|i| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i)).collect();
    let got = solicit(&Lease { addresses, mtu: 0, ..lease() }, &[]);
    assert_eq!(got.reply.status, Status::Success);
    // Of 1228 bytes 33 are for identifiers and preference, 16 for the association's head. There is no room left for
    // 23 (36), and none for 24 (44).
    assert_eq!(got.addresses().len(), (1228 - 33 - 16) / 28);
    assert_eq!(got.reply.left_out, [5, 23, 24]);
}

#[test]
fn a_guest_s_own_flood_of_associations_costs_it_parameters_only() {
    let mut options = vec![client_id(), server_id(), ia_na(IAID, &[FOREIGN; 20])];
    options.extend((0..70u8).map(|i| ia_na([i; 4], &[])));
    let options: Vec<&[u8]> = options.iter().map(Vec::as_slice).collect();
    let got = Client::sends(5, &options).is_replied(&Lease { mtu: 1280, ..lease() });
    assert_eq!(got.addresses().iter().filter(|(_, lifetime)| *lifetime > 0).count(), 2);
    assert_eq!(got.addresses().iter().filter(|(_, lifetime)| *lifetime == 0).count(), 20);
    assert_eq!(got.statuses()[0], (3, IAID, None));
    assert!(got.reply.left_out.contains(&3));
}
