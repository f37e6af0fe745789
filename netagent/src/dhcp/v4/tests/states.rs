// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFC 2131, table 4 and section 4.3, message by message; and what gets no answer.

use std::net::Ipv4Addr;

use super::{ADDRESS, Client, Outcome, SERVER, ZERO, lease, option, silent, wrap};
use crate::{
    core::ids::MacAddr,
    dhcp::v4::{Event, MessageType, Silence, answer},
};

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 50);

fn address(code: u8, address: Ipv4Addr) -> Vec<u8> {
    option(code, &address.octets())
}

/// A client that has an address: it sends from it, and says so.
fn with_address(mut client: Client, held: Ipv4Addr, destination: Ipv4Addr) -> Client {
    (client.source, client.ciaddr, client.destination) = (held, held, destination);
    client
}

#[test]
fn discover_gets_the_address_whatever_it_would_like() {
    let got = Client::sends(1, &[&address(50, OTHER)]).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Offer);
    assert_eq!((got.message.yiaddr(), got.message.ciaddr()), (ADDRESS, ZERO));
    assert_eq!(got.message.xid(), 0x1234_5678);
    assert!(got.is_unicast_to(ADDRESS));
}

#[test]
fn selecting() {
    let selects = |server, wanted| Client::sends(3, &[&address(54, server), &address(50, wanted)]);
    let got = selects(SERVER, ADDRESS).is_replied(&lease());
    assert_eq!((got.reply.message, got.message.yiaddr()), (MessageType::Ack, ADDRESS));
    let got = selects(SERVER, OTHER).is_replied(&lease());
    assert_eq!((got.reply.message, got.reply.asked), (MessageType::Nak, Some(OTHER)));
    assert_eq!(selects(OTHER, ADDRESS).asks(&lease()), silent(Silence::OtherServer));
    assert_eq!(Client::sends(3, &[&address(54, SERVER)]).asks(&lease()), silent(Silence::NoAddress));
}

#[test]
fn init_reboot() {
    let got = Client::sends(3, &[&address(50, ADDRESS)]).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Ack);
    let got = Client::sends(3, &[&address(50, OTHER)]).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Nak);
    assert_eq!(Client::sends(3, &[]).asks(&lease()), silent(Silence::NoAddress));
}

#[test]
fn renewing_and_rebinding() {
    for destination in [SERVER, Ipv4Addr::BROADCAST] {
        let got = with_address(Client::sends(3, &[]), ADDRESS, destination).is_replied(&lease());
        assert_eq!(got.reply.message, MessageType::Ack);
        assert!(got.is_unicast_to(ADDRESS));
        assert_eq!(got.message.ciaddr(), ADDRESS);
        let got = with_address(Client::sends(3, &[]), OTHER, destination).is_replied(&lease());
        assert_eq!(got.reply.message, MessageType::Nak);
        assert!(got.is_broadcast());
    }
}

/// The gateway has changed, and with it the server identifier: who renews does so with the one that it was given.
#[test]
fn a_renewal_with_the_server_of_before() {
    let got = with_address(Client::sends(3, &[]), ADDRESS, OTHER).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Ack);
    assert!(got.is_unicast_to(ADDRESS));
    assert_eq!(got.option(54).unwrap(), SERVER.octets());
    let got = with_address(Client::sends(3, &[]), OTHER, OTHER).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Nak);
    // Nothing else goes to a server by unicast that is not this one.
    for (kind, more) in
        [(3, address(50, ADDRESS)), (3, address(54, SERVER)), (1, vec![]), (7, vec![]), (8, vec![])]
    {
        let other = with_address(Client::sends(kind, &[&more]), ADDRESS, OTHER);
        assert_eq!(other.asks(&lease()), silent(Silence::OtherDestination), "{kind}");
    }
    let unbound = with_address(Client::sends(3, &[]), ZERO, OTHER);
    assert_eq!(unbound.asks(&lease()), silent(Silence::OtherDestination));
}

/// RFC 2131, table 4 wants `ciaddr` zero and option 50 filled when selecting; clients of RFC 1541 renewed with option 54.
#[test]
fn requests_between_the_states_are_judged_by_the_address_they_name() {
    let got = with_address(Client::sends(3, &[&address(54, SERVER)]), ADDRESS, SERVER).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Ack);
    let got = with_address(Client::sends(3, &[&address(54, SERVER)]), OTHER, SERVER).is_replied(&lease());
    assert_eq!((got.reply.message, got.reply.asked), (MessageType::Nak, Some(OTHER)));
    // Both are named: what it would like to have counts.
    let both = |wanted| Client::sends(3, &[&address(50, wanted)]);
    let got = with_address(both(OTHER), ADDRESS, Ipv4Addr::BROADCAST).is_replied(&lease());
    assert_eq!((got.reply.message, got.reply.asked), (MessageType::Nak, Some(OTHER)));
    let got = with_address(both(ADDRESS), OTHER, Ipv4Addr::BROADCAST).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Ack);
    // A client that has chosen another server is none of ours, whatever address it has.
    let other = with_address(Client::sends(3, &[&address(54, OTHER)]), ADDRESS, Ipv4Addr::BROADCAST);
    assert_eq!(other.asks(&lease()), silent(Silence::OtherServer));
}

/// After a move from another network the guest asks for what it had: 4.3.2 wants a refusal at once, broadcast.
#[test]
fn init_reboot_on_the_wrong_network() {
    for far in [Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST]
    {
        let got = Client::sends(3, &[&address(50, far)]).is_replied(&lease());
        assert_eq!(got.reply.message, MessageType::Nak, "{far}");
        assert!(got.is_broadcast());
        assert_eq!(got.message.yiaddr(), ZERO);
    }
}

#[test]
fn the_lease_time_is_the_server_s_whatever_was_asked_for() {
    for kind in [1, 3] {
        let wishes = [address(50, ADDRESS), option(51, &5u32.to_be_bytes())].concat();
        let got = Client::sends(kind, &[&wishes]).is_replied(&lease());
        assert_eq!(got.option(51).unwrap(), 86_400u32.to_be_bytes());
    }
}

/// RFC 3046, 2.2: who does not support relays does not echo what they add; and the guest is no relay.
#[test]
fn a_relay_agent_s_word_is_not_repeated() {
    let got = Client::sends(1, &[&option(82, &[1, 2, b'a', b'b'])]).is_replied(&lease());
    assert_eq!(got.option(82), None);
    for kind in 1..=8 {
        let mut relayed = Client::sends(kind, &[&address(50, ADDRESS), &option(82, &[1, 1, b'a'])]);
        relayed.giaddr = OTHER;
        assert_eq!(relayed.asks(&lease()), silent(Silence::Relayed), "{kind}");
    }
}

#[test]
fn the_client_identifier_comes_back_in_every_answer() {
    let id = option(61, &[0xff, 0, 0, 0, 1, 0, 2]);
    for (kind, wanted) in [(1, ADDRESS), (3, ADDRESS), (3, OTHER), (8, ADDRESS)] {
        let got = Client::sends(kind, &[&address(50, wanted), &id]).is_replied(&lease());
        assert_eq!(got.option(61).unwrap(), &id[2..], "{kind}");
    }
    // It decides nothing: one that belongs to another card gets the same.
    let other = option(61, &[1, 2, 0, 0, 0, 0, 9]);
    assert_eq!(Client::sends(1, &[&other]).is_replied(&lease()).message.yiaddr(), ADDRESS);
    // An empty one is none.
    assert_eq!(Client::sends(1, &[&[61, 0]]).is_replied(&lease()).option(61), None);
}

/// RFC 2132, 9.10: at least 576 bytes, and never more than the link carries.
#[test]
fn the_message_size_is_held_to_its_bounds() {
    let wide = crate::dhcp::v4::Lease { dns: vec![OTHER; 255], ..lease() };
    let len =
        |size: u16| Client::sends(1, &[&option(57, &size.to_be_bytes())]).is_replied(&wide).reply.frame.len();
    for least in [0, 1, 300, 575, 576] {
        assert!(len(least) <= 14 + 576, "{least}");
    }
    assert!(len(1400) > 14 + 576);
    for most in [1450, 1500, 9000, u16::MAX] {
        assert!(len(most) <= 14 + 1450, "{most}");
    }
}

#[test]
fn a_nak_is_broadcast_and_carries_no_configuration() {
    let id = [1, 2, 3, 4];
    let got = Client::sends(3, &[&address(50, OTHER), &option(61, &id)]).is_replied(&lease());
    assert!(got.is_broadcast());
    assert_eq!((got.message.yiaddr(), got.message.ciaddr()), (ZERO, ZERO));
    assert_eq!(got.codes(), [53, 54, 56, 61]);
    assert_eq!(got.option(61).unwrap(), id);
}

#[test]
fn inform_gets_parameters_without_address_and_times() {
    let got = with_address(Client::sends(8, &[&option(55, &[6, 119])]), OTHER, Ipv4Addr::BROADCAST)
        .is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Ack);
    assert_eq!((got.message.yiaddr(), got.message.ciaddr()), (ZERO, OTHER));
    assert_eq!(got.codes(), [53, 54, 1, 6, 119, 3]);
    assert!(got.is_unicast_to(OTHER));
    // Without an address, or with one that no host has, it gets a broadcast.
    for odd in [ZERO, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::LOCALHOST] {
        let mut client = Client::sends(8, &[]);
        client.ciaddr = odd;
        assert!(client.is_replied(&lease()).is_broadcast(), "{odd}");
    }
}

#[test]
fn decline_and_release_are_events() {
    let decline = |server| Client::sends(4, &[&address(54, server), &address(50, ADDRESS)]).asks(&lease());
    assert_eq!(decline(SERVER), Outcome::Event(Event::Declined { address: Some(ADDRESS) }));
    assert_eq!(decline(OTHER), silent(Silence::OtherServer));
    let release =
        |server| with_address(Client::sends(7, &[&address(54, server)]), ADDRESS, SERVER).asks(&lease());
    assert_eq!(release(SERVER), Outcome::Event(Event::Released { address: ADDRESS }));
    assert_eq!(release(OTHER), silent(Silence::OtherServer));
    // It keeps serving.
    assert_eq!(Client::sends(1, &[]).is_replied(&lease()).reply.message, MessageType::Offer);
}

#[test]
fn broadcast_flag() {
    let mut client = Client::sends(1, &[]);
    client.flags = 0x8000;
    let got = client.is_replied(&lease());
    assert!(got.is_broadcast());
    assert_eq!(got.message.yiaddr(), ADDRESS);
    // The other fifteen bits mean nothing, and come back.
    client.flags = 0x7fff;
    let got = client.is_replied(&lease());
    assert!(got.is_unicast_to(ADDRESS));
    assert_eq!(u16::from(got.message.flags()), 0x7fff);
}

#[test]
fn an_address_the_client_does_not_have_is_no_destination() {
    let mut client = Client::sends(3, &[&address(50, ADDRESS)]);
    client.ciaddr = OTHER;
    assert!(client.is_replied(&lease()).is_unicast_to(ADDRESS));
}

#[test]
fn what_only_servers_send_or_nobody_knows() {
    for code in [0, 2, 5, 6, 9, 18, 255] {
        assert_eq!(Client::sends(code, &[]).asks(&lease()), silent(Silence::UnexpectedType), "{code}");
    }
    let mut bootp = Client::sends(1, &[]);
    bootp.options = vec![255];
    assert_eq!(bootp.asks(&lease()), silent(Silence::UnexpectedType));
    bootp.options = vec![53, 2, 1, 1, 255];
    assert_eq!(bootp.asks(&lease()), silent(Silence::BadOption));
}

#[test]
fn options_of_impossible_length() {
    for code in [50, 54] {
        let client = Client::sends(3, &[&address(50, ADDRESS), &option(code, &[10, 0, 0])]);
        assert_eq!(client.asks(&lease()), silent(Silence::BadOption), "{code}");
    }
    let id = [option(61, &[7; 200]), option(61, &[7; 200])].concat();
    assert_eq!(Client::sends(1, &[&id]).asks(&lease()), silent(Silence::BadOption));
    // A maximum message size of three bytes is none: the default holds.
    assert!(Client::sends(1, &[&option(57, &[5, 0, 0])]).is_replied(&lease()).reply.left_out.is_empty());
}

#[test]
fn other_clients_and_relays() {
    let mut client = Client::sends(1, &[]);
    client.chaddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x57]);
    assert_eq!(client.asks(&lease()), silent(Silence::OtherClient));
    let mut client = Client::sends(1, &[]);
    client.giaddr = OTHER;
    assert_eq!(client.asks(&lease()), silent(Silence::Relayed));
    let mut client = Client::sends(1, &[]);
    client.destination = OTHER;
    assert_eq!(client.asks(&lease()), silent(Silence::OtherDestination));
}

#[test]
fn bootp_fields() {
    let good = Client::sends(1, &[]).message();
    // op, htype, hlen (17 and more make dhcproto 0.15 panic), cookie
    for (at, value) in [(0, 2), (1, 6), (2, 0), (2, 16), (2, 17), (2, 255), (236, 0)] {
        let mut message = good.clone();
        message[at] = value;
        let frame = wrap(ZERO, Ipv4Addr::BROADCAST, 67, &message);
        assert_eq!(answer(&lease(), &frame), silent(Silence::BadBootp), "byte {at} = {value}");
    }
    for len in [0, 1, 235, 239, 1501] {
        let mut message = good.clone();
        message.resize(len, 0);
        let frame = wrap(ZERO, Ipv4Addr::BROADCAST, 67, &message);
        assert_eq!(answer(&lease(), &frame), silent(Silence::BadBootp), "{len} bytes");
    }
}

#[test]
fn headers() {
    let good = Client::sends(1, &[]).frame();
    let changed = |at: usize, value: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + value.len()].copy_from_slice(value);
        // Keep the header's checksum right, so that only the change counts.
        frame[24..26].fill(0);
        let sum = frame[14..34].chunks(2).fold(0u32, |s, w| s + u32::from(u16::from_be_bytes([w[0], w[1]])));
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        answer(&lease(), &frame)
    };
    let ip_len = u16::from_be_bytes([good[16], good[17]]);
    assert!(matches!(changed(14, &[0x45]), Outcome::Reply(_)));
    assert_eq!(changed(12, &[0x86, 0xdd]), silent(Silence::NotDhcp), "IPv6");
    assert_eq!(changed(12, &[0x81, 0x00]), silent(Silence::NotDhcp), "VLAN");
    assert_eq!(changed(14, &[0x65]), silent(Silence::BadIpv4), "version");
    assert_eq!(changed(14, &[0x44]), silent(Silence::BadIpv4), "header length");
    assert_eq!(changed(16, &(ip_len + 1).to_be_bytes()), silent(Silence::BadIpv4), "longer than the frame");
    assert_eq!(changed(16, &19u16.to_be_bytes()), silent(Silence::BadIpv4), "shorter than its header");
    assert_eq!(changed(20, &[0x20, 0]), silent(Silence::Fragment), "more fragments");
    assert_eq!(changed(20, &[0, 1]), silent(Silence::Fragment), "fragment offset");
    assert_eq!(changed(23, &[6]), silent(Silence::NotDhcp), "TCP");
    assert_eq!(changed(36, &[0, 68]), silent(Silence::NotDhcp), "port");
    for udp_len in [0, 7, ip_len - 20 + 1] {
        assert_eq!(changed(38, &udp_len.to_be_bytes()), silent(Silence::BadUdp), "UDP length {udp_len}");
    }
    let mut bad_sum = good.clone();
    bad_sum[24] ^= 1;
    assert_eq!(answer(&lease(), &bad_sum), silent(Silence::BadIpv4));
    // Offloaded, absent, nonsense: not ours to judge.
    for sum in [[0, 0], [0, 0xd7], [0xde, 0xad]] {
        assert!(matches!(changed(40, &sum), Outcome::Reply(_)), "{sum:?}");
    }
    // Padding of the frame is no part of the message.
    assert!(matches!(answer(&lease(), &[&good[..], &[0xff; 40]].concat()), Outcome::Reply(_)));
}
