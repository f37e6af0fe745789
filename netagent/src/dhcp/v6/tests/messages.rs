// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFC 8415, sections 16 and 18.3, message by message.

use super::{
    ADDRESS, Client, FOREIGN, FROM, IAID, Read, SECOND, SERVER, client_id, ia_na, lease, option, server_id,
    silent,
};
use crate::dhcp::v6::{Event, Lease, MessageType, Silence, Status};

const DAY: u32 = 86_400;
const SOLICIT: u8 = 1;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION_REQUEST: u8 = 11;

/// Messages for one server, which need both identifiers.
const FOR_ONE: [u8; 4] = [REQUEST, RENEW, RELEASE, DECLINE];
/// Messages for any server.
const FOR_ANY: [u8; 3] = [SOLICIT, CONFIRM, REBIND];

/// A message with the identifiers it needs.
fn proper(message_type: u8, options: &[&[u8]]) -> Client {
    let (client, server) = (client_id(), if FOR_ONE.contains(&message_type) { server_id() } else { vec![] });
    Client::sends(message_type, &[&[&client[..], &server], options].concat())
}

fn all_of(read: &Read) -> Vec<(std::net::Ipv6Addr, u32)> {
    let mut addresses = read.addresses();
    addresses.sort_unstable();
    addresses
}

#[test]
fn a_solicit_is_advertised_all_addresses_whatever_it_would_like() {
    for hint in [&[][..], &[FOREIGN], &[ADDRESS]] {
        let got = proper(SOLICIT, &[&ia_na(IAID, hint)]).is_replied(&lease());
        assert_eq!((got.reply.message, got.reply.status), (MessageType::Advertise, Status::Success));
        assert_eq!(all_of(&got), [(ADDRESS, DAY), (SECOND, DAY)]);
        assert_eq!(got.times(), (43_200, 75_600));
        assert_eq!(got.message.xid(), [0xab, 0xcd, 0xef]);
        assert_eq!(got.to, FROM);
        assert_eq!(got.option(7).unwrap(), [255], "preference");
        assert_eq!(got.reply.asked, hint.first().copied());
        assert_eq!(got.reply.event, None);
    }
}

#[test]
fn a_solicit_with_rapid_commit_has_its_addresses_at_once() {
    let got = proper(SOLICIT, &[&option(14, &[]), &ia_na(IAID, &[])]).is_replied(&lease());
    assert_eq!(got.reply.message, MessageType::Reply);
    assert_eq!(all_of(&got), [(ADDRESS, DAY), (SECOND, DAY)]);
    assert_eq!(got.option(14).unwrap(), [0; 0]);
    assert_eq!(got.option(7), None);
    // Elsewhere it means nothing.
    let got = proper(REQUEST, &[&option(14, &[]), &ia_na(IAID, &[])]).is_replied(&lease());
    assert_eq!(got.option(14), None);
}

#[test]
fn a_request_gets_the_addresses_unless_it_wants_others() {
    for wanted in [&[][..], &[ADDRESS], &[SECOND, ADDRESS]] {
        let got = proper(REQUEST, &[&ia_na(IAID, wanted)]).is_replied(&lease());
        assert_eq!((got.reply.message, got.reply.status), (MessageType::Reply, Status::Success));
        assert_eq!(all_of(&got), [(ADDRESS, DAY), (SECOND, DAY)]);
    }
    let got = proper(REQUEST, &[&ia_na(IAID, &[ADDRESS, FOREIGN])]).is_replied(&lease());
    assert_eq!((got.reply.status, got.reply.asked), (Status::NotOnLink, Some(FOREIGN)));
    assert_eq!(got.statuses(), [(3, IAID, Some(4))]);
    assert_eq!((all_of(&got).len(), got.times()), (0, (0, 0)));
}

#[test]
fn renew_and_rebind_take_back_what_is_not_the_pods() {
    for message in [RENEW, REBIND] {
        let got = proper(message, &[&ia_na(IAID, &[ADDRESS, SECOND])]).is_replied(&lease());
        assert_eq!(all_of(&got), [(ADDRESS, DAY), (SECOND, DAY)]);
        let got = proper(message, &[&ia_na(IAID, &[FOREIGN])]).is_replied(&lease());
        assert_eq!((got.reply.status, got.reply.asked), (Status::Success, Some(FOREIGN)));
        assert_eq!(all_of(&got), [(ADDRESS, DAY), (SECOND, DAY), (FOREIGN, 0)]);
        assert_eq!(got.times(), (43_200, 75_600));
        assert_eq!(got.statuses(), [(3, IAID, None)]);
    }
}

#[test]
fn confirm_is_yes_no_or_nothing() {
    let confirms = |options: &[&[u8]]| proper(CONFIRM, options).asks(&lease());
    let got = proper(CONFIRM, &[&ia_na(IAID, &[SECOND])]).is_replied(&lease());
    assert_eq!((got.reply.status, got.codes()), (Status::Success, vec![1, 2, 13]));
    assert_eq!(got.option(13).unwrap(), [0, 0]);
    let temporary = option(4, &[&IAID[..], &option(5, &[&FOREIGN.octets()[..], &[0; 8]].concat())].concat());
    for wrong in [ia_na(IAID, &[ADDRESS, FOREIGN]), [ia_na(IAID, &[ADDRESS]), temporary].concat()] {
        let got = proper(CONFIRM, &[&wrong]).is_replied(&lease());
        assert_eq!((got.reply.status, got.codes()), (Status::NotOnLink, vec![1, 2, 13]));
        assert_eq!(&got.option(13).unwrap()[..2], [0, 4]);
    }
    assert_eq!(confirms(&[&ia_na(IAID, &[])]), silent(Silence::NoAddress));
    assert_eq!(confirms(&[]), silent(Silence::NoAddress));
}

#[test]
fn release_and_decline_are_acknowledged_and_told() {
    for (message, event) in [(RELEASE, Event::Released), (DECLINE, Event::Declined)] {
        let got = proper(message, &[&ia_na(IAID, &[ADDRESS])]).is_replied(&lease());
        assert_eq!((got.reply.event, got.reply.status), (Some(event), Status::Success));
        assert_eq!((got.reply.asked, got.codes()), (Some(ADDRESS), vec![1, 2, 13]));
        // What it never had.
        let got =
            proper(message, &[&ia_na(IAID, &[ADDRESS]), &ia_na([9; 4], &[FOREIGN])]).is_replied(&lease());
        assert_eq!(got.statuses(), [(3, [9; 4], Some(3))]);
        assert_eq!(got.option(13).unwrap(), [0, 0]);
        assert_eq!(event.as_str(), got.reply.to.as_str());
    }
    // It keeps serving.
    let got = proper(SOLICIT, &[&ia_na(IAID, &[])]).is_replied(&lease());
    assert_eq!(all_of(&got), [(ADDRESS, DAY), (SECOND, DAY)]);
}

#[test]
fn one_association_has_the_addresses() {
    let all = [
        option(4, &[7; 4]),
        option(25, &[8; 12]),
        ia_na(IAID, &[]),
        ia_na([9; 4], &[ADDRESS]),
        option(25, &[&[6; 12][..], &option(26, &[0; 25])].concat()),
    ]
    .concat();
    for message in [SOLICIT, REQUEST, RENEW, REBIND] {
        let got = proper(message, &[&all]).is_replied(&lease());
        let expected = [
            (3, IAID, None),
            (4, [7; 4], Some(2)),
            (25, [8; 4], Some(6)),
            (3, [9; 4], Some(2)),
            (25, [6; 4], Some(6)),
        ];
        assert_eq!(got.statuses(), expected);
        assert_eq!(got.reply.status, Status::Success);
        assert_eq!(got.addresses().len(), 2);
    }
    let got = proper(SOLICIT, &[&option(25, &[8; 12])]).is_replied(&lease());
    assert_eq!(got.reply.status, Status::NoPrefixAvail);
    let bare = Lease { addresses: vec![], ..lease() };
    let got = proper(REQUEST, &[&ia_na(IAID, &[])]).is_replied(&bare);
    assert_eq!(got.statuses(), [(3, IAID, Some(2))]);
}

#[test]
fn an_information_request_gets_parameters_alone() {
    let got = Client::sends(INFORMATION_REQUEST, &[]).is_replied(&lease());
    assert_eq!((got.reply.message, got.codes()), (MessageType::Reply, vec![2, 32, 23, 24]));
    assert_eq!(got.option(32).unwrap(), DAY.to_be_bytes());
    let got = proper(INFORMATION_REQUEST, &[&server_id()]).is_replied(&lease());
    assert_eq!(got.codes(), [1, 2, 32, 23, 24]);
    let odd = |options: &[&[u8]]| Client::sends(INFORMATION_REQUEST, options).asks(&lease());
    assert_eq!(odd(&[&ia_na(IAID, &[])]), silent(Silence::UnexpectedAssociation));
    assert_eq!(odd(&[&option(2, &[0, 3, 0, 1])]), silent(Silence::OtherServer));
}

#[test]
fn identifiers_that_must_and_must_not_be_there() {
    let (client, server, ia) = (client_id(), server_id(), ia_na(IAID, &[ADDRESS]));
    let other = option(2, &[0, 3, 0, 1, 2, 0x6e, 0x61, 0, 0, 2]);
    let longer = option(2, &[0, 3, 0, 1, 2, 0x6e, 0x61, 0, 0, 1, 0]);
    for message in FOR_ONE {
        let sends = |options: &[&[u8]]| Client::sends(message, options).asks(&lease());
        assert_eq!(sends(&[&client, &ia]), silent(Silence::NoServerId), "{message}");
        assert_eq!(sends(&[&server, &ia]), silent(Silence::NoClientId), "{message}");
        for wrong in [&other, &longer, &option(2, &[])] {
            assert_eq!(sends(&[&client, wrong, &ia]), silent(Silence::OtherServer), "{message}");
        }
    }
    for message in FOR_ANY {
        let sends = |options: &[&[u8]]| Client::sends(message, options).asks(&lease());
        assert_eq!(sends(&[&client, &server, &ia]), silent(Silence::UnexpectedServerId), "{message}");
        assert_eq!(sends(&[&ia]), silent(Silence::NoClientId), "{message}");
    }
}

#[test]
fn the_client_s_duid_comes_back_whatever_it_is() {
    for len in [1, 3, 130] {
        let id: Vec<u8> = (0..len).map(|i| i as u8 ^ 0xa5).collect();
        let got = Client::sends(SOLICIT, &[&option(1, &id), &ia_na(IAID, &[])]).is_replied(&lease());
        assert_eq!(got.option(1).unwrap(), id);
    }
    for len in [0, 131] {
        let client = Client::sends(SOLICIT, &[&option(1, &vec![1; len])]);
        assert_eq!(client.asks(&lease()), silent(Silence::BadOption), "{len}");
    }
}

#[test]
fn by_unicast_to_the_server() {
    let unicast = |message: u8| {
        let mut client = proper(message, &[&ia_na(IAID, &[ADDRESS])]);
        client.destination = SERVER;
        client
    };
    for message in FOR_ANY {
        assert_eq!(unicast(message).asks(&lease()), silent(Silence::Unicast), "{message}");
    }
    let mut client = Client::sends(INFORMATION_REQUEST, &[]);
    client.destination = SERVER;
    assert_eq!(client.asks(&lease()), silent(Silence::Unicast));
    for message in FOR_ONE {
        let got = unicast(message).is_replied(&lease());
        assert_eq!((got.reply.status, got.codes()), (Status::UseMulticast, vec![1, 2, 13]));
        assert_eq!(got.reply.event, None, "the message is discarded");
    }
}

#[test]
fn what_only_servers_and_relays_send_or_nobody_knows() {
    for message in [0, 2, 7, 10, 13, 14, 36, 255] {
        assert_eq!(
            Client::sends(message, &[&client_id()]).asks(&lease()),
            silent(Silence::UnexpectedType),
            "{message}"
        );
    }
    // Hop count, link and peer address, relayed message.
    let relayed = option(9, &Client::sends(SOLICIT, &[&client_id()]).message);
    let relay = [&[12, 0][..], &[0; 32], &relayed].concat();
    let client = Client { message: relay, ..Client::sends(0, &[]) };
    assert_eq!(client.asks(&lease()), silent(Silence::Relayed));
}

#[test]
fn lengths_that_cannot_be() {
    let solicits = |options: &[u8]| proper(SOLICIT, &[options]).asks(&lease());
    for bad in [
        option(3, &[0; 11]),
        option(4, &[0; 3]),
        option(25, &[0; 11]),
        option(3, &[&[0; 12][..], &[0, 5, 0]].concat()),
        option(3, &[&[0; 12][..], &option(5, &[0; 23])].concat()),
        option(4, &[&[0; 4][..], &[0, 13, 0, 1]].concat()),
        option(25, &[&[0; 12][..], &[0, 26, 0, 25]].concat()),
        option(6, &[0, 23, 0]),
        vec![0, 99, 0, 1],
        vec![0],
    ] {
        assert_eq!(solicits(&bad), silent(Silence::BadOption), "{bad:?}");
    }
    for len in [0, 3] {
        let client = Client { message: vec![1; len], ..Client::sends(0, &[]) };
        assert_eq!(client.asks(&lease()), silent(Silence::BadMessage), "{len}");
    }
    let filled = |len: usize| {
        let client = proper(SOLICIT, &[]);
        let room = len - client.message.len() - 4;
        proper(SOLICIT, &[&option(99, &vec![0; room])])
    };
    assert_eq!(filled(2047).message.len(), 2047);
    filled(2047).is_replied(&lease());
    assert_eq!(filled(2048).asks(&lease()), silent(Silence::BadMessage));
}

/// Options in options in options: what makes dhcproto 0.15 overflow the stack is one level deep here.
#[test]
fn nesting_costs_nothing() {
    let mut nested = Vec::new();
    while nested.len() < 1900 {
        nested = option(3, &[&[0; 12][..], &nested].concat());
    }
    let got = proper(SOLICIT, &[&nested]).is_replied(&lease());
    assert_eq!(got.addresses().len(), 2);
}
