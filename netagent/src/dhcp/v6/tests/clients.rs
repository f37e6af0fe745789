// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of real clients, captured on a veth. Their checksums are only the pseudo-header's sum.

use std::net::Ipv6Addr;

use super::{ADDRESS, FOREIGN, FROM, GUEST, IAID, Read, SECOND, lease, replied};
use crate::dhcp::v6::{Event, Lease, MessageType, Status};

/// A captured frame: Ethernet, IPv6 and UDP header, and the message.
fn captured(headers: &str, message: &str) -> Vec<u8> {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    };
    let (headers, message) = (hex(headers), hex(message));
    assert_eq!(headers.len(), 62);
    assert_eq!(usize::from(u16::from_be_bytes([headers[58], headers[59]])), 8 + message.len());
    [headers, message].concat()
}

/// The same pod's guest after the pod got another address.
fn moved() -> Lease {
    Lease { addresses: vec![FOREIGN], ..lease() }
}

/// The addresses that the client may use.
fn bound(read: &Read) -> Vec<Ipv6Addr> {
    let usable = read.addresses().into_iter().filter(|(_, lifetime)| *lifetime > 0);
    let mut addresses: Vec<_> = usable.map(|(address, _)| address).collect();
    addresses.sort_unstable();
    addresses
}

/// ISC dhclient 4.4.3 with options 23, 24 and 32.
#[test]
fn dhclient_solicit() {
    let frame = captured(
        "33330001000252540012345686dd6000630300421101fe80000000000000505400fffe123456ff0200000000000000000000000100020222022300428196",
        concat!(
            "0117acf20001000e0001000132997af35254001234560006000a001700180018001700200008000200000003000c",
            "0012345600000e1000001518",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!(got.reply.message, MessageType::Advertise);
    assert_eq!((got.message.xid(), got.to), ([0x17, 0xac, 0xf2], FROM));
    assert_eq!(got.codes(), [1, 2, 7, 3, 23, 24]);
    assert_eq!(got.option(1).unwrap(), [&[0, 1, 0, 1, 0x32, 0x99, 0x7a, 0xf3][..], &GUEST.0].concat());
    assert_eq!(got.statuses(), [(3, IAID, None)]);
    assert_eq!(bound(&got), [ADDRESS, SECOND]);
}

#[test]
fn dhclient_request() {
    let frame = captured(
        "33330001000252540012345686dd6000630300881101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223008881dc",
        concat!(
            "03c3de990001000e0001000132997af35254001234560002000a00030001026e610000010006000a001700180018",
            "00170020000800020000000300440012345600000e10000015180005001820010db8000100000000000000000017",
            "00001c2000001d4c0005001820010db800010000000000000000001800001c2000001d4c",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!((got.reply.to, got.reply.message), (MessageType::Request, MessageType::Reply));
    assert_eq!(got.codes(), [1, 2, 3, 23, 24]);
    assert_eq!(bound(&got), [ADDRESS, SECOND]);
    // After the pod got another address.
    let got = replied(&moved(), &frame);
    assert_eq!((got.reply.status, got.reply.asked), (Status::NotOnLink, Some(ADDRESS)));
}

/// After a restart of the client: once with the addresses it still has, once after the pod got another.
#[test]
fn dhclient_confirm() {
    let frame = captured(
        "33330001000252540012345686dd60006303007a1101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223007a81ce",
        concat!(
            "04ee67550001000e0001000132997af35254001234560006000a0017001800180017002000080002000000030044",
            "0012345600000000000000000005001820010db80001000000000000000000170000000000000000000500182001",
            "0db80001000000000000000000180000000000000000",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!((got.reply.to, got.reply.status), (MessageType::Confirm, Status::Success));
    let got = replied(&moved(), &frame);
    assert_eq!((got.reply.status, got.reply.asked), (Status::NotOnLink, Some(ADDRESS)));
}

#[test]
fn dhclient_renew() {
    let frame = captured(
        "33330001000252540012345686dd60006303006c1101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223006c81c0",
        concat!(
            "052cb4e80001000e0001000132997b075254001234560002000a00030001026e610000010006000a001700180018",
            "00170020000800020000000300280012345600000e10000015180005001820010db8000100000000000000000017",
            "00001c2000001d4c",
        ),
    );
    assert_eq!(bound(&replied(&lease(), &frame)), [ADDRESS, SECOND]);
    let got = replied(&moved(), &frame);
    assert_eq!((got.reply.to, got.reply.status), (MessageType::Renew, Status::Success));
    assert_eq!(bound(&got), [FOREIGN]);
    assert!(got.addresses().contains(&(ADDRESS, 0)), "and its old one is taken back");
}

#[test]
fn dhclient_rebind() {
    let frame = captured(
        "33330001000252540012345686dd60006303005e1101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223005e81b2",
        concat!(
            "06709c870001000e0001000132997b155254001234560006000a0017001800180017002000080002000000030028",
            "0012345600000e10000015180005001820010db800010000000000000000001700001c2000001d4c",
        ),
    );
    let got = replied(&moved(), &frame);
    assert_eq!((got.reply.to, bound(&got)), (MessageType::Rebind, vec![FOREIGN]));
    assert!(got.addresses().contains(&(ADDRESS, 0)));
}

#[test]
fn dhclient_release() {
    let frame = captured(
        "33330001000252540012345686dd60006303006c1101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223006c81c0",
        concat!(
            "08cbb4ef0001000e0001000132997af35254001234560002000a00030001026e610000010006000a001700180018",
            "00170020000800020000000300280012345600000000000000000005001820010db8000200000000000000000099",
            "0000000000000000",
        ),
    );
    let got = replied(&moved(), &frame);
    assert_eq!((got.reply.event, got.reply.asked), (Some(Event::Released), Some(FOREIGN)));
    assert_eq!(got.codes(), [1, 2, 13]);
}

/// `dhclient -S`.
#[test]
fn dhclient_information_request() {
    let frame = captured(
        "33330001000252540012345686dd60006303002e1101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223002e8182",
        "0b7b23c60001000a000300015254001234560006000a00170018001800170020000800020000",
    );
    let got = replied(&lease(), &frame);
    assert_eq!(got.reply.to, MessageType::InformationRequest);
    assert_eq!(got.codes(), [1, 2, 32, 23, 24]);
}

/// dhcpcd 9.4.1 with options 23, 24 and 56. It adds 82 and 83, a vendor class, and counts its associations from 1.
#[test]
fn dhcpcd_solicit() {
    let frame = captured(
        "33330001000252540012345686dd600cba5b00821101fe80000000000000505400fffe123456ff020000000000000000000000010002022202230082902c",
        concat!(
            "019ef6150001000e0001000132997b295254001234560003000c0000000100000000000000000006000a00170018",
            "0038005200530008000200000010003c00009f0800366468637063642d392e342e313a4c696e75782d362e312e30",
            "2d616d6436343a7838365f36343a47656e75696e65496e74656c78787878",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!(got.codes(), [1, 2, 7, 3, 23, 24, 56]);
    assert_eq!(got.statuses(), [(3, [0, 0, 0, 1], None)]);
    assert_eq!(bound(&got), [ADDRESS, SECOND]);
}

#[test]
fn dhcpcd_request() {
    let frame = captured(
        "33330001000252540012345686dd600cba5b00c81101fe80000000000000505400fffe123456ff0200000000000000000000000100020222022300c8d119",
        concat!(
            "03d3ba920001000e0001000132997b295254001234560002000a00030001026e6100000100030044000000010000",
            "0000000000000005001820010db800010000000000000000001700000e1000000e100005001820010db800010000",
            "000000000000001800000e1000000e100006000a001700180038005200530008000200000010003c00009f080036",
            "6468637063642d392e342e313a4c696e75782d362e312e302d616d6436343a7838365f36343a47656e75696e6549",
            "6e74656c78787878",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!(got.codes(), [1, 2, 3, 23, 24, 56]);
    assert_eq!(bound(&got), [ADDRESS, SECOND]);
}

#[test]
fn dhcpcd_release() {
    let frame = captured(
        "33330001000252540012345686dd600cba5b00ba1101fe80000000000000505400fffe123456ff0200000000000000000000000100020222022300bae6bd",
        concat!(
            "0868a1910001000e0001000132997b295254001234560002000a00030001026e6100000100030044000000010000",
            "0000000000000005001820010db800010000000000000000001700000e1000000e100005001820010db800010000",
            "000000000000001800000e1000000e100008000200000010003c00009f0800366468637063642d392e342e313a4c",
            "696e75782d362e312e302d616d6436343a7838365f36343a47656e75696e65496e74656c78787878",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!((got.reply.event, got.reply.asked), (Some(Event::Released), Some(ADDRESS)));
}

/// systemd-networkd 252 with `WithoutRA=solicit`: rapid commit, an IA_PD beside the IA_NA, its name, a DUID-EN.
#[test]
fn networkd_solicit() {
    let frame = captured(
        "33330001000252540012345686dd60006303005c1101fe80000000000000505400fffe123456ff02000000000000000000000001000202220223005c81b0",
        concat!(
            "01fd9cb4000e00000003000c5f6daaa800000000000000000019000c5f6daaa80000000000000000002700040102",
            "766d000600080017001f003800520001000e00020000ab115ed1801f6c2a9344000800020000",
        ),
    );
    let got = replied(&lease(), &frame);
    assert_eq!((got.reply.message, got.reply.status), (MessageType::Reply, Status::Success));
    // Of its list (23, 31, 56, 82) without 24.
    assert_eq!(got.codes(), [1, 2, 14, 3, 25, 23, 56]);
    let iaid = [0x5f, 0x6d, 0xaa, 0xa8];
    assert_eq!(got.statuses(), [(3, iaid, None), (25, iaid, Some(6))]);
    assert_eq!(bound(&got), [ADDRESS, SECOND]);
}
