// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which solicitations are answered (RFC 4861, section 6.1.1).

use super::*;

#[test]
fn every_router_answers_a_valid_solicitation() {
    let nameless = Solicitation { source: Ipv6Addr::UNSPECIFIED, options: vec![], ..Default::default() };
    let global = Solicitation { source: ip("2001:db8:1::5"), ..Default::default() };
    let direct = Solicitation { destination: ip("fe80::2"), ..Default::default() };
    // Unknown options are none of our business (RFC 4861, section 6.1.1): here a nonce (RFC 3971).
    let options = [&[14, 1][..], &[9; 6], &[1, 1], &GUEST.0].concat();
    let nonce = Solicitation { options, ..Default::default() };
    let adverts = [advert(), Advert { router: ip("fe80::2"), router_lifetime: 0, ..advert() }];
    for solicitation in [Solicitation::default(), nameless, global, direct, nonce] {
        let read = read_all(answer(&adverts, &solicitation.frame()));
        let routers: Vec<_> = read.iter().map(|r| (r.router.unwrap(), r.router_lifetime)).collect();
        assert_eq!(routers, [(ip("fe80::1"), 65_535), (ip("fe80::2"), 0)], "{solicitation:?}");
    }
}

#[test]
fn what_a_router_forwarded_is_not_answered() {
    for hop_limit in [0, 1, 64, 254] {
        Solicitation { hop_limit, ..Default::default() }.is_silent(Silence::NotFromLink);
    }
}

#[test]
fn other_messages_and_codes() {
    Solicitation { code: 1, ..Default::default() }.is_silent(Silence::BadIcmpv6);
    for kind in [128, 134, 135, 0, 255] {
        Solicitation { kind, ..Default::default() }.is_silent(Silence::NotSolicitation);
    }
    assert_eq!(answer(&[advert()], &[]), Outcome::Silent(Silence::NotSolicitation));
}

#[test]
fn options_that_lie_about_their_length() {
    let nameless = Ipv6Addr::UNSPECIFIED;
    let own = Solicitation::default().source;
    for (source, options) in [
        (own, vec![1, 0, 0, 0, 0, 0, 0, 0]),
        (own, vec![1]),
        (own, vec![1, 2, 0, 0, 0, 0, 0, 0]),
        (own, vec![14, 1, 0, 0, 0, 0, 0, 0, 1]),
        (own, vec![255, 255]),
        // Who has no address names no MAC.
        (nameless, [&[1, 1][..], &GUEST.0].concat()),
    ] {
        Solicitation { source, options, ..Default::default() }.is_silent(Silence::BadOption);
    }
}

#[test]
fn others_than_the_guest_and_to_others_than_the_routers() {
    let mac = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
    Solicitation { mac, ..Default::default() }.is_silent(Silence::OtherClient);
    Solicitation { source: ip("ff02::1"), ..Default::default() }.is_silent(Silence::BadSource);
    let destination = ip("2001:db8::99");
    Solicitation { destination, ..Default::default() }.is_silent(Silence::OtherDestination);
}

#[test]
fn nothing_is_said_where_there_is_nothing_to_say() {
    let asked = answer(&[], &Solicitation::default().frame());
    assert_eq!(asked, Outcome::Silent(Silence::NothingToSay));
}

#[test]
fn a_wrong_checksum_a_cut_message_and_a_wrong_length() {
    let whole = Solicitation::default().frame();
    let silence = |frame: &[u8]| answer(&[advert()], frame);
    let mut wrong = whole.clone();
    wrong[57] ^= 1;
    assert_eq!(silence(&wrong), Outcome::Silent(Silence::BadChecksum));
    let mut short = whole.clone();
    short[19] = 7;
    assert_eq!(silence(&short), Outcome::Silent(Silence::BadIcmpv6));
    let mut long = whole.clone();
    long[18] = 0xff;
    assert_eq!(silence(&long), Outcome::Silent(Silence::BadIpv6));
    let mut jumbo = whole.clone();
    jumbo[18..20].fill(0);
    assert_eq!(silence(&jumbo), Outcome::Silent(Silence::BadIpv6));
    for end in 0..whole.len() {
        assert!(matches!(silence(&whole[..end]), Outcome::Silent(_)), "{end}");
    }
    // Ethernet's padding is no part of the packet.
    assert!(matches!(silence(&[whole, vec![0; 20]].concat()), Outcome::Advertise(_)));
}

#[test]
fn fragments_and_extension_headers() {
    let message = Solicitation::default().frame()[54..].to_vec();
    let behind = |next: u8, header: &[u8]| {
        let mut frame = Solicitation::default().frame()[..54].to_vec();
        frame[20] = next;
        frame.extend(header);
        frame.extend(&message);
        frame[19] = (frame.len() - 54) as u8;
        answer(&[advert()], &frame)
    };
    // Hop-by-hop with padding only, as an MLD sender would have it.
    assert!(matches!(behind(0, &[58, 0, 1, 4, 0, 0, 0, 0]), Outcome::Advertise(_)));
    // First of several fragments, and a later one: RFC 6980, section 5.
    assert_eq!(behind(44, &[58, 0, 0, 1, 0, 0, 0, 9]), Outcome::Silent(Silence::NotFromLink));
    assert_eq!(behind(44, &[58, 0, 0, 8, 0, 0, 0, 9]), Outcome::Silent(Silence::NotFromLink));
}
