// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of real clients, captured on a veth, and of clients laid out after what they are known to send.

use std::net::Ipv4Addr;

use super::{ADDRESS, Client, GUEST, Lease, Outcome, Read, SERVER, lease, option};
use crate::dhcp::v4::{Event, MessageType, answer};

/// A captured frame: Ethernet to UDP header, BOOTP up to the MAC in `chaddr`, the options, padding after them.
fn captured(headers: &str, fixed: &str, options: &str, padding: usize) -> Vec<u8> {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    };
    let (headers, fixed) = (hex(headers), hex(fixed));
    assert_eq!((headers.len(), fixed.len()), (42, 34));
    [headers, fixed, vec![0; 202], vec![99, 130, 83, 99], hex(options), vec![0; padding]].concat()
}

fn replied(lease: &Lease, frame: &[u8]) -> Read {
    match answer(lease, frame) {
        Outcome::Reply(reply) => Read::of(reply),
        other => panic!("expected a reply, got {other:?}"),
    }
}

/// A Calico pod: the guest's address has no prefix, its gateway is nowhere near.
fn calico() -> Lease {
    let gateway = Some(Ipv4Addr::new(169, 254, 1, 1));
    Lease { address: "10.244.1.7/32".parse().unwrap(), gateway, ..lease() }
}

/// busybox 1.35: `udhcpc -x hostname:guest -O 121 -O 119 -O mtu`.
const UDHCPC_FIXED: &str = "010106009132b0460000000000000000000000000000000000000000525400123456";

#[test]
fn udhcpc_discover() {
    let frame = captured(
        "ffffffffffff52540012345608004500014800000000401179a600000000ffffffff0044004301342164",
        UDHCPC_FIXED,
        "35010139020240370a0103060c0f1a1c2a77790c0567756573743c0c756468637020312e33352e303d0701525400123456ff",
        10,
    );
    let got = replied(&calico(), &frame);
    assert_eq!(got.reply.message, MessageType::Offer);
    assert_eq!(got.message.xid(), 0x9132_b046);
    assert!(got.is_unicast_to(Ipv4Addr::new(10, 244, 1, 7)));
    // Its list is 1, 3, 6, 12, 15, 26, 28, 42, 119, 121: no 28 for a /32, no 42 to tell.
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 12, 15, 26, 119, 121, 61]);
    assert_eq!(got.option(1).unwrap(), [255; 4]);
    assert_eq!(got.option(121).unwrap(), [32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1]);
    assert_eq!(got.option(61).unwrap(), [1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
}

#[test]
fn udhcpc_request_of_what_was_offered() {
    let frame = captured(
        "ffffffffffff52540012345608004500014a00000000401179a400000000ffffffff0044004301361bf7",
        UDHCPC_FIXED,
        "35010332040af401073604a9fe4b0139020240370a0103060c0f1a1c2a77790c0567756573743c0c756468637020312e33352e303d0701525400123456ff",
        0,
    );
    let got = replied(&calico(), &frame);
    assert_eq!((got.reply.to, got.reply.message), (MessageType::Request, MessageType::Ack));
    assert_eq!(got.message.yiaddr(), Ipv4Addr::new(10, 244, 1, 7));
    assert_eq!(got.reply.asked, Some(Ipv4Addr::new(10, 244, 1, 7)));
}

/// Through a UDP socket: the checksum (0x0240) is only the sum of the pseudo-header.
#[test]
fn udhcpc_release() {
    let frame = captured(
        "5a46e91847ae525400123456080045000148922940004011a6810af40107a9fe4b010044004301340240",
        "010106009088c73a000e00000af40107000000000000000000000000525400123456",
        "3501073604a9fe4b013d0701525400123456ff",
        41,
    );
    let address = Ipv4Addr::new(10, 244, 1, 7);
    assert_eq!(answer(&calico(), &frame), Outcome::Event(Event::Released { address }));
}

/// ISC dhclient 4.4.3: `request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers,
/// domain-search, host-name, interface-mtu, rfc3442`.
#[test]
fn dhclient_discover() {
    let frame = captured(
        "ffffffffffff525400123456080045100148000000008011399600000000ffffffff00440043013430b1",
        "01010600ae6ede730000000000000000000000000000000000000000525400123456",
        "3501013709011c030f06770c1a79ff",
        45,
    );
    let got = replied(&lease(), &frame);
    assert!(got.is_unicast_to(ADDRESS));
    // In its order, without 121: mask and router say it all.
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 28, 3, 15, 6, 119, 12, 26]);
    assert_eq!(got.option(28).unwrap(), [10, 129, 1, 255]);
    assert_eq!(got.option(15).unwrap(), b"default.svc.cluster.local");
}

/// By unicast through a UDP socket: the checksum (0x00d7) is only the sum of the pseudo-header.
#[test]
fn dhclient_renew() {
    let frame = captured(
        "5a46e91847ae52540012345608004500014885fe40004011b4150a810011a9fe4b0100440043013400d7",
        "01010600ae6ede73000000000a810011000000000000000000000000525400123456",
        "3501033709011c030f06770c1a79ff",
        45,
    );
    let got = replied(&lease(), &frame);
    assert_eq!(got.reply.message, MessageType::Ack);
    assert_eq!((got.message.ciaddr(), got.message.yiaddr()), (ADDRESS, ADDRESS));
    assert!(got.is_unicast_to(ADDRESS));
}

/// INIT-REBOOT of the same client: once with the address it still has, once after the pod got another.
#[test]
fn dhclient_reboot() {
    let frame = captured(
        "ffffffffffff525400123456080045100148000000008011399600000000ffffffff004400430134e590",
        "01010600115e2e680000000000000000000000000000000000000000525400123456",
        "35010332040a8100113709011c030f06770c1a79ff",
        39,
    );
    assert_eq!(replied(&lease(), &frame).reply.message, MessageType::Ack);
    let moved = Lease { address: "10.129.0.99/23".parse().unwrap(), ..lease() };
    let got = replied(&moved, &frame);
    assert_eq!((got.reply.message, got.reply.asked), (MessageType::Nak, Some(ADDRESS)));
}

/// After sd-dhcp-client: an RFC 4361 client identifier, a message size of the link's MTU.
#[test]
fn systemd_networkd_discover() {
    let mut id = vec![255, 0xf2, 0x4d, 0x0b, 0x1a, 0, 2, 0, 0, 0xab, 0x11];
    id.extend([0x5e, 0xd1, 0x80, 0x1f, 0x6c, 0x2a, 0x93, 0x44]);
    let client = Client::sends(
        1,
        &[
            &option(61, &id),
            &option(55, &[1, 3, 6, 12, 15, 26, 33, 42, 119, 121, 120, 108]),
            &option(57, &1472u16.to_be_bytes()),
            &option(12, b"fedora"),
        ],
    );
    let got = client.is_replied(&lease());
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 12, 15, 26, 119, 61]);
    assert_eq!(got.option(61).unwrap(), id);
}

/// After Windows 10 and later: broadcast flag, options 31 to 47 and 252, both codes for routes; 81 in the request.
#[test]
fn windows_request() {
    let mut client = Client::sends(
        3,
        &[
            &option(61, &[&[1][..], &GUEST.0].concat()),
            &option(50, &[10, 244, 1, 7]),
            &option(54, &SERVER.octets()),
            &option(12, b"DESKTOP-3F2A"),
            &option(81, &[&[0, 0, 0][..], b"DESKTOP-3F2A"].concat()),
            &option(60, b"MSFT 5.0"),
            &option(55, &[1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252]),
        ],
    );
    client.flags = 0x8000;
    let got = client.is_replied(&calico());
    assert!(got.is_broadcast());
    assert_eq!(got.message.flags(), dhcproto::v4::Flags::new(0x8000));
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 15, 119, 121, 249, 61]);
    assert_eq!(got.option(249), got.option(121));
    assert_eq!(got.option(15).unwrap(), b"default.svc.cluster.local");
}

/// Firmware (iPXE, UEFI): vendor class, architecture and machine identifiers, a list full of what is not served.
#[test]
fn pxe_discover() {
    let client = Client::sends(
        1,
        &[
            &option(57, &1464u16.to_be_bytes()),
            &option(93, &[0, 7]),
            &option(94, &[1, 3, 10]),
            &option(60, b"PXEClient:Arch:00007:UNDI:003010"),
            &option(77, b"iPXE"),
            &option(55, &[1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 175, 203]),
            &option(175, &[177, 5, 1, 0x1a, 0xf4, 0x10, 0]),
            &option(97, &[0; 17]),
        ],
    );
    let got = client.is_replied(&lease());
    assert_eq!(got.codes(), [53, 54, 51, 58, 59, 1, 3, 6, 12, 15, 26, 119]);
    assert_eq!(got.message.siaddr(), Ipv4Addr::UNSPECIFIED);
}
