// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rule on every listing and every set of ports.

use proptest::prelude::*;

use super::*;
use crate::core::{
    ids::NetnsId,
    origin::{Origin, Pod},
    spec::tests::spec,
};

fn port(ino: u64, source: Source, sandbox: &str, hostname: &str) -> PortSpec {
    PortSpec {
        netns_id: NetnsId { dev: 4, ino },
        origin: Origin { source, pod: Pod::default(), sandbox: sandbox.to_owned() },
        hostname: Some(hostname.to_owned()),
        ..spec()
    }
}

fn listing(claims: &[(&str, Claim)]) -> Listing {
    let mut listing = Listing::new(Source::Cri);
    listing.complete(claims.iter().map(|(sandbox, claim)| ((*sandbox).to_owned(), claim.clone())).collect());
    listing
}

#[test]
fn what_a_source_lists_is_attached_changed_and_taken_back() {
    let ports = [
        port(1, Source::Cri, "a", "same"),
        port(2, Source::Cri, "b", "before"),
        port(3, Source::Cri, "gone", "x"),
        port(4, Source::Cni, "d", "another's"),
        port(5, Source::Cni, "gone", "another's"),
    ];
    let asks = |ino, sandbox, name| Claim::Asks(vec![port(ino, Source::Cri, sandbox, name)]);
    let listing = listing(&[
        ("a", asks(1, "a", "same")),
        ("b", asks(2, "b", "after")),
        ("d", asks(4, "d", "mine")),
        ("e", asks(6, "e", "new")),
    ]);
    assert_eq!(
        listing.against(&ports),
        Difference {
            attach: vec![port(6, Source::Cri, "e", "new")],
            change: vec![port(2, Source::Cri, "b", "after")],
            detach: vec![ports[2].id()],
            taken: vec![(ports[3].id(), Source::Cni)],
        }
    );
}

#[test]
fn an_agent_that_starts_takes_nothing_back_until_it_has_heard_all() {
    let ports = [port(1, Source::Cri, "a", "x"), port(2, Source::Cri, "b", "x")];
    let mut listing = Listing::new(Source::Cri);
    listing.put("a", Claim::Asks(vec![ports[0].clone()]));
    assert!(listing.against(&ports).is_nothing());
    listing.remove("a");
    assert!(listing.against(&ports).is_nothing(), "one event is no list");
    listing.complete(BTreeMap::from([("a".to_owned(), Claim::Asks(vec![ports[0].clone()]))]));
    assert_eq!(listing.against(&ports).detach, [ports[1].id()]);
    listing.remove("a");
    assert_eq!(listing.against(&ports).detach, [ports[0].id(), ports[1].id()]);
    listing.doubt();
    assert!(listing.against(&ports).is_nothing());
}

#[test]
fn a_namespace_number_that_comes_again_is_changed_and_not_taken_back() {
    let ports = [port(1, Source::Cri, "old", "vm")];
    let new = port(1, Source::Cri, "new", "vm");
    let difference = listing(&[("new", Claim::Asks(vec![new.clone()]))]).against(&ports);
    assert_eq!(difference, Difference { change: vec![new], ..Difference::default() });
}

#[test]
fn what_only_the_agent_knows_of_a_port_is_no_difference() {
    let mut there = port(1, Source::Cri, "a", "vm");
    there.netns_cookie = Some(77);
    let ask = PortSpec { netns_cookie: None, ..there.clone() };
    assert!(listing(&[("a", Claim::Asks(vec![ask]))]).against(&[there]).is_nothing());
}

prop_compose! {
    fn any_port()(ino in 0..6u64, own in any::<bool>(), sandbox in 0..4u8, name in 0..2u8, wanted in prop::bool::weighted(0.9))
        -> PortSpec {
        let source = if own { Source::Cri } else { Source::Cni };
        PortSpec { wanted, ..port(ino, source, &format!("s{sandbox}"), &format!("n{name}")) }
    }
}

prop_compose! {
    /// As the node has them: each name once.
    fn any_ports()(ports in prop::collection::vec(any_port(), 0..6)) -> BTreeMap<PortId, PortSpec> {
        ports.into_iter().map(|port| (port.id(), port)).collect()
    }
}

prop_compose! {
    fn any_listing()(
        claims in prop::collection::btree_map(0..4u8, prop::option::of(prop::collection::vec((0..6u64, 0..2u8), 0..3)), 0..4),
        whole in any::<bool>(),
    ) -> Listing {
        let mut listing = Listing::new(Source::Cri);
        let claims = claims.into_iter().map(|(sandbox, asks)| {
            let sandbox = format!("s{sandbox}");
            let claim = asks.map_or(Claim::Unclear, |asks| Claim::Asks(asks.into_iter()
                .map(|(ino, name)| port(ino, Source::Cri, &sandbox, &format!("n{name}"))).collect()));
            (sandbox, claim)
        });
        if whole {
            listing.complete(claims.collect());
        } else {
            claims.for_each(|(sandbox, claim)| listing.put(sandbox, claim));
        }
        listing
    }
}

/// The ports after what was to be done was done.
fn follow(ports: &BTreeMap<PortId, PortSpec>, difference: &Difference) -> BTreeMap<PortId, PortSpec> {
    let mut ports = ports.clone();
    for spec in difference.attach.iter().chain(&difference.change) {
        ports.insert(spec.id(), spec.clone());
    }
    ports.retain(|id, _| !difference.detach.contains(id));
    ports
}

proptest! {
    #[test]
    fn following_it_once_leaves_nothing_to_do(ports in any_ports(), listing in any_listing()) {
        let after = follow(&ports, &listing.against(ports.values()));
        prop_assert!(listing.against(after.values()).is_nothing());
        if listing.is_whole() {
            // What is left of this source is what it asks for, and what it cannot see.
            let asked = listing.asks();
            for (id, port) in after.iter().filter(|(_, port)| port.wanted && port.origin.source == Source::Cri) {
                prop_assert!(asked.contains_key(id) || listing.is_unclear(&port.origin.sandbox));
            }
        }
    }

    #[test]
    fn nothing_is_taken_back_before_everything_was_listed(ports in any_ports(), mut listing in any_listing()) {
        listing.doubt();
        prop_assert_eq!(listing.against(ports.values()).detach, vec![]);
    }

    #[test]
    fn the_ports_of_other_sources_stay_as_they_are(ports in any_ports(), listing in any_listing()) {
        let after = follow(&ports, &listing.against(ports.values()));
        for (id, port) in ports.iter().filter(|(_, port)| port.wanted && port.origin.source != Source::Cri) {
            prop_assert_eq!(after.get(id), Some(port));
        }
    }

    #[test]
    fn a_sandbox_that_cannot_be_looked_at_keeps_its_ports(ports in any_ports(), listing in any_listing()) {
        let detach = listing.against(ports.values()).detach;
        for port in ports.values().filter(|port| listing.is_unclear(&port.origin.sandbox)) {
            prop_assert!(!detach.contains(&port.id()));
        }
    }

    #[test]
    fn a_port_is_told_of_at_most_once(ports in any_ports(), listing in any_listing()) {
        let difference = listing.against(ports.values());
        let mut told: Vec<_> = difference.attach.iter().chain(&difference.change).map(PortSpec::id).collect();
        told.extend(difference.detach);
        told.extend(difference.taken.into_iter().map(|(id, _)| id));
        let all = told.len();
        told.sort();
        told.dedup();
        prop_assert_eq!(told.len(), all);
    }
}
