// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any frame and any advert.

use proptest::{collection::vec, prelude::*};

use super::{
    super::{final_word, retraction},
    *,
};

fn address() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn prefix() -> impl Strategy<Value = Ipv6Net> {
    (address(), 0u8..=128).prop_map(|(a, len)| Ipv6Net::new(a, len).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,70}(\\.[a-z]{1,9}){0,30}\\.?", any::<String>()]
}

prop_compose! {
    fn any_advert()(
        interface in any::<u64>(),
        router_lifetime in any::<u16>(),
        (managed, other) in any::<(bool, bool)>(),
        mtu in prop_oneof![any::<u32>(), 1200u32..9001],
        lifetime in any::<u32>(),
        prefixes in vec(prefix(), 0..20),
        routes in vec(prefix(), 0..80),
        dns in vec(address(), 0..200),
        search in vec(name(), 0..40),
    ) -> Advert {
        let router = Ipv6Addr::from((0xfe80u128 << 112) | u128::from(interface));
        Advert { router, router_lifetime, managed, other, mtu, lifetime, prefixes, routes, dns, search, ..advert() }
    }
}

prop_compose! {
    fn any_solicitation()(
        mac in prop_oneof![3 => Just(GUEST), 1 => any::<[u8; 6]>().prop_map(MacAddr)],
        source in prop_oneof![Just(Ipv6Addr::UNSPECIFIED), Just(Solicitation::default().source), address()],
        destination in prop_oneof![3 => Just(ip(ALL_ROUTERS)), 1 => address()],
        hop_limit in prop_oneof![3 => Just(255), 1 => any::<u8>()],
        kind in prop_oneof![3 => Just(133), 1 => any::<u8>()],
        code in prop_oneof![3 => Just(0), 1 => any::<u8>()],
        options in vec(any::<u8>(), 0..64),
    ) -> Solicitation {
        Solicitation { mac, source, destination, hop_limit, kind, code, options }
    }
}

/// Checks an advertisement: [`Read::of`] refuses what a guest would. What it holds is what the advert says, in order.
fn check(advert: &Advert) -> Result<(), TestCaseError> {
    let sent = advertise(advert);
    let limit = 14 + usize::try_from(advert.mtu.clamp(1280, 65_535)).unwrap();
    prop_assert!(sent.frame.len() <= limit, "{} > {limit}", sent.frame.len());
    let read = Read::of(&sent.frame);
    prop_assert_eq!(read.router, Some(advert.router));
    prop_assert_eq!(read.router_lifetime, advert.router_lifetime);
    prop_assert_eq!(read.flags, u8::from(advert.managed) << 7 | u8::from(advert.other) << 6);
    prop_assert_eq!(read.mtu, Some(advert.mtu).filter(|mtu| *mtu >= 1280));
    let left_out = |kind: u8| sent.left_out.iter().filter(|k| **k == kind).count();
    prop_assert_eq!(read.prefixes.len() + left_out(3), advert.prefixes.len());
    prop_assert_eq!(read.routes.len() + left_out(24), advert.routes.len());
    let lifetime = advert.lifetime;
    prop_assert!(read.prefixes.iter().all(|p| (p.1, p.2, p.3) == (0x80, lifetime, lifetime)));
    prop_assert!(read.prefixes.iter().all(|p| advert.prefixes.iter().any(|of| of.trunc() == p.0)));
    prop_assert!(read.routes.iter().all(|r| (r.1, r.2) == (0, lifetime)));
    prop_assert!(read.routes.iter().all(|r| advert.routes.iter().any(|of| of.trunc() == r.0)));
    prop_assert!(read.dns.iter().all(|d| d.1 == lifetime));
    prop_assert!(read.dns.len() == advert.dns.len() || left_out(25) > 0);
    prop_assert!(read.search.iter().all(|s| s.1 == lifetime));
    if advert.search.iter().any(|name| name == "ok.example") && left_out(31) == 0 {
        prop_assert!(read.search.iter().any(|s| s.0 == "ok.example"));
    }
    Ok(())
}

fn check_answer(adverts: &[Advert], frame: &[u8]) -> Result<bool, TestCaseError> {
    let Outcome::Advertise(sent) = answer(adverts, frame) else { return Ok(false) };
    prop_assert_eq!(sent.len(), adverts.len());
    for (advertisement, advert) in sent.iter().zip(adverts) {
        prop_assert_eq!(advertisement, &advertise(advert));
        prop_assert_eq!(advertisement.router, advert.router);
    }
    prop_assert_eq!(frame.get(6..12), Some(&GUEST.0[..]), "only the guest is answered");
    Ok(true)
}

proptest! {
    #[test]
    fn any_bytes(frame in vec(any::<u8>(), 0..400)) {
        check_answer(&[advert()], &frame)?;
    }

    #[test]
    fn any_solicitation_to_any_adverts(
        adverts in vec(any_advert(), 0..3), solicitation in any_solicitation(),
    ) {
        check_answer(&adverts, &solicitation.frame())?;
    }

    #[test]
    fn any_message_with_a_right_checksum(options in vec(any::<u8>(), 0..600)) {
        check_answer(&[advert()], &Solicitation { options, ..Default::default() }.frame())?;
    }

    #[test]
    fn mutated_frames(
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut frame = Solicitation::default().frame();
        for (at, value) in flips {
            *at.get_mut(&mut frame) = value;
        }
        if cuts {
            frame.truncate(cut.index(frame.len()));
        }
        check_answer(&[advert()], &frame)?;
    }

    #[test]
    fn any_advert_is_read_back(mut advert in any_advert(), place in any::<prop::sample::Index>()) {
        let place = place.index(advert.search.len() + 1).min(16);
        advert.search.insert(place.min(advert.search.len()), "ok.example".into());
        check(&advert)?;
        check(&final_word(&advert))?;
    }

    #[test]
    fn a_retraction_and_what_is_said_after_it_leave_what_is_new(
        old in any_advert(), new in any_advert(), same_router in any::<bool>(), keep in any::<prop::sample::Index>(),
    ) {
        let mut new = new;
        if same_router {
            new.router = old.router;
        }
        new.dns.extend(old.dns.iter().take(keep.index(old.dns.len() + 1)));
        for gone in retraction(std::slice::from_ref(&old), std::slice::from_ref(&new)) {
            prop_assert_eq!((gone.router, gone.lifetime), (old.router, 0));
            prop_assert_eq!(gone.router_lifetime, if same_router { new.router_lifetime } else { 0 });
            if same_router {
                prop_assert!(gone.dns.iter().all(|d| old.dns.contains(d) && !new.dns.contains(d)));
            }
            check(&gone)?;
        }
    }
}
