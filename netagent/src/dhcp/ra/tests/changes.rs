// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is taken back when something else is said.

use super::{
    super::{final_word, retraction},
    *,
};

#[test]
fn a_final_word_names_all_and_ends_it() {
    let last = Read::of(&advertise(&final_word(&advert())).frame);
    let said = Read::of(&advertise(&advert()).frame);
    assert_eq!(last.router_lifetime, 0);
    assert_eq!(last.router, said.router);
    assert_eq!(last.prefixes, [(net("2001:db8:1::/64"), 0x80, 0, 0)]);
    assert_eq!(last.routes, [(net("2001:db8:2::/48"), 0, 0)]);
    assert!(last.dns.iter().map(|d| d.0).eq(said.dns.iter().map(|d| d.0)));
    assert!(last.dns.iter().all(|d| d.1 == 0));
    assert!(last.search.len() == 2 && last.search.iter().all(|s| s.1 == 0));
    assert_eq!((last.mtu, last.flags), (said.mtu, said.flags));
}

#[test]
fn nothing_is_taken_back_of_what_is_said_again() {
    assert_eq!(retraction(&[advert()], &[advert()]), []);
    assert_eq!(retraction(&[], &[advert()]), []);
    let more = Advert {
        dns: vec![ip("2001:db8::53"), ip("2001:db8::54"), ip("2001:db8::55")],
        mtu: 1300,
        router_lifetime: 0,
        lifetime: 60,
        ..advert()
    };
    // What changed and is still said, the new advert itself says.
    assert_eq!(retraction(&[advert()], &[more]), []);
}

#[test]
fn a_router_that_went_has_its_final_word() {
    let other = Advert { router: ip("fe80::2"), ..advert() };
    assert_eq!(retraction(&[advert(), other.clone()], &[other]), [final_word(&advert())]);
    assert_eq!(retraction(&[advert()], &[]), [final_word(&advert())]);
}

#[test]
fn a_router_that_stays_takes_back_what_it_says_no_more() {
    let after = Advert {
        dns: vec![ip("2001:db8::54")],
        search: vec!["example.com".into()],
        prefixes: vec![],
        routes: vec![net("2001:db8:3::/48")],
        ..advert()
    };
    let taken_back = retraction(&[advert()], &[after]);
    assert_eq!(taken_back.len(), 1);
    let read = Read::of(&advertise(&taken_back[0]).frame);
    // It stays a default router.
    assert_eq!(read.router_lifetime, 65_535);
    assert_eq!(read.dns, [(ip("2001:db8::53"), 0)]);
    assert_eq!(read.search, [("eng.example.com".into(), 0)]);
    assert_eq!(read.prefixes, [(net("2001:db8:1::/64"), 0x80, 0, 0)]);
    assert_eq!(read.routes, [(net("2001:db8:2::/48"), 0, 0)]);
}
