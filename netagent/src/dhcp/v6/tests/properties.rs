// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any frame and any lease.

use std::{net::Ipv6Addr, time::Duration};

use proptest::{collection::vec, option as maybe, prelude::*};

use super::{
    ADDRESS, ALL_SERVERS, Client, FOREIGN, FROM, GUEST, IAID, Lease, Outcome, Read, SECOND, SERVER_DUID,
    Silence, answer, ia_na, lease, option, wrap,
};

fn ip() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![any::<u128>().prop_map(Ipv6Addr::from), Just(ADDRESS), Just(SECOND), Just(FOREIGN)]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,70}(\\.[a-z]{1,9}){0,30}\\.?", any::<String>()]
}

prop_compose! {
    fn any_lease()(
        addresses in vec(ip(), 1..70),
        dns in vec(ip(), 0..80),
        search in vec(name(), 0..40),
        ntp in vec(ip(), 0..30),
        mtu in prop_oneof![any::<u16>(), 1200u16..1500],
        secs in any::<u64>(),
    ) -> Lease {
        Lease { addresses, dns, search, ntp, mtu, lease_time: Duration::from_secs(secs), ..lease() }
    }
}

fn association() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (any::<[u8; 4]>(), vec(ip(), 0..6)).prop_map(|(iaid, addresses)| ia_na(iaid, &addresses)),
        any::<[u8; 4]>().prop_map(|iaid| option(4, &iaid)),
        any::<[u8; 12]>().prop_map(|head| option(25, &head)),
    ]
}

prop_compose! {
    /// A client that is sane outside its options, of which most are well formed.
    fn any_client()(
        kind in prop_oneof![1u8..=11, Just(3), Just(5)],
        id in maybe::weighted(0.9, vec(any::<u8>(), 1..131)),
        server in maybe::of(prop_oneof![4 => Just(SERVER_DUID.to_vec()), 1 => vec(any::<u8>(), 0..20)]),
        associations in vec(association(), 0..5),
        list in maybe::of(vec(prop_oneof![any::<u16>(), Just(23), Just(24), Just(56)], 0..30)),
        rapid in any::<bool>(),
        other in vec((any::<u16>(), vec(any::<u8>(), 0..60)), 0..3),
    ) -> Client {
        let mut options = Vec::new();
        options.extend(id.map(|id| option(1, &id)));
        options.extend(server.map(|id| option(2, &id)));
        options.extend(associations);
        options.extend(list.map(|l| option(6, &l.iter().flat_map(|code| code.to_be_bytes()).collect::<Vec<_>>())));
        options.extend(rapid.then(|| option(14, &[])));
        options.extend(other.iter().map(|(code, value)| option(*code, value)));
        let options: Vec<&[u8]> = options.iter().map(Vec::as_slice).collect();
        Client::sends(kind, &options)
    }
}

/// Checks a reply, if it is one: [`Read::of`] refuses what an outsider would. Says whether it is.
fn check(lease: &Lease, frame: &[u8]) -> Result<bool, TestCaseError> {
    let Outcome::Reply(reply) = answer(lease, frame) else { return Ok(false) };
    prop_assert_eq!(&frame[6..12], GUEST.0);
    let read = Read::of(lease, reply);
    prop_assert!(read.to.is_unicast_link_local());
    Ok(true)
}

proptest! {
    #[test]
    fn any_bytes(frame in vec(any::<u8>(), 0..700)) {
        check(&lease(), &frame)?;
    }

    #[test]
    fn any_message(message in vec(any::<u8>(), 0..2100)) {
        check(&lease(), &wrap(FROM, ALL_SERVERS, 547, &message))?;
    }

    #[test]
    fn any_inner_bytes(kind in 1u8..=11, code in prop_oneof![Just(3u16), Just(4), Just(25)], inner in vec(any::<u8>(), 0..300)) {
        let ids = [option(1, &[1; 10]), option(2, &SERVER_DUID)].concat();
        check(&lease(), &Client::sends(kind, &[&ids, &option(code, &inner)]).frame())?;
    }

    #[test]
    fn mutated_frames(
        client in any_client(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in maybe::of(any::<prop::sample::Index>()),
    ) {
        let mut frame = client.frame();
        for (at, value) in flips {
            *at.get_mut(&mut frame) = value;
        }
        frame.truncate(cut.map_or(usize::MAX, |cut| cut.index(frame.len())));
        check(&lease(), &frame)?;
    }

    #[test]
    fn mutated_messages(client in any_client(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut message = client.message.clone();
        for (at, value) in flips {
            *at.get_mut(&mut message) = value;
        }
        check(&lease(), &Client { message, ..client }.frame())?;
    }

    /// What comes back is the client's, and its addresses are the pod's: what is not has no life in it and was named by
    /// the client.
    #[test]
    fn any_lease_to_any_client(lease in any_lease(), client in any_client()) {
        check(&lease, &client.frame())?;
        if let Outcome::Reply(reply) = client.asks(&lease) {
            let read = Read::of(&lease, reply);
            prop_assert_eq!(&read.message.xid()[..], &client.message[1..4]);
            let sent = super::walk(&client.message[4..]);
            let id = sent.iter().find(|(code, _)| *code == 1).map(|(_, value)| value.as_slice());
            prop_assert_eq!(read.option(1), id);
            for (address, lifetime) in read.addresses() {
                let named = client.message.windows(16).any(|bytes| bytes == address.octets());
                prop_assert!(lease.addresses.contains(&address) || (lifetime == 0 && named));
            }
            let (t1, t2) = if read.option(3).is_some() { read.times() } else { (0, 0) };
            prop_assert!(t1 <= t2 && u64::from(t2) <= lease.lease_time.as_secs().max(t2.into()));
        }
    }

    #[test]
    fn only_the_lease_s_client(client in any_client(), mac in any::<[u8; 6]>()) {
        prop_assume!(mac != GUEST.0);
        let mut frame = client.frame();
        frame[6..12].copy_from_slice(&mac);
        prop_assert_eq!(answer(&lease(), &frame), Outcome::Silent(Silence::OtherClient));
    }

    #[test]
    fn a_solicit_is_always_advertised_addresses(lease in any_lease(), id in vec(any::<u8>(), 1..131)) {
        let client = Client::sends(1, &[&option(1, &id), &ia_na(IAID, &[])]);
        let read = client.is_replied(&lease);
        let lifetime = u32::try_from(lease.lease_time.as_secs()).unwrap_or(u32::MAX);
        let expected: Vec<_> = lease.addresses.iter().map(|a| (*a, lifetime)).collect();
        let got = read.addresses();
        prop_assert!(got.len() >= expected.len().min(36), "{} of {}", got.len(), expected.len());
        prop_assert!(got.iter().all(|address| expected.contains(address)));
    }
}

/// Most of what the properties above try is answered: they do not hold for want of replies.
#[test]
fn clients_of_the_properties_are_answered() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = any_client();
    let answered = (0..500)
        .filter(|_| {
            let client = strategy.new_tree(&mut runner).unwrap().current();
            matches!(client.asks(&lease()), Outcome::Reply(_))
        })
        .count();
    assert!(answered > 100, "only {answered} of 500");
}
