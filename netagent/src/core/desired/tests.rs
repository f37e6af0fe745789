// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port should be, of many pods and asks, and what no pod can have.

use std::collections::BTreeSet;

use super::*;
use crate::core::{
    bridged::GuestBehind,
    guard::RulesOff,
    pod::{Dns, HostPeer, Route},
    spec::tests::spec,
};

pub(crate) const KERNEL: KernelFeatures =
    KernelFeatures { tcx: true, redirect_peer: true, peer_scrubs: true, xdp: true };

pub(crate) fn facts() -> PodFacts {
    PodFacts {
        link: PodLink {
            ifname: "eth0".parse().unwrap(),
            ifindex: 2,
            mac: Some(MacAddr([0x0a, 0x58, 10, 244, 0, 9])),
            mtu: 1450,
            kind: "veth".into(),
            up: true,
            peer_elsewhere: true,
            egress: None,
            host_peer: HostPeer::Clear,
            xdp: None,
        },
        addresses: vec!["10.244.0.9/24".parse().unwrap(), "fd00::9/64".parse().unwrap()],
        routes: [("10.244.0.0/24", None), ("fd00::/64", None), ("0.0.0.0/0", Some("10.244.0.1"))]
            .map(|(destination, gateway)| Route {
                destination: destination.parse().unwrap(),
                gateway: gateway.map(|g| g.parse().unwrap()),
                metric: 0,
            })
            .to_vec(),
        dns: Dns { servers: vec!["10.96.0.10".parse().unwrap()], search: vec!["cluster.local".into()] },
        hostname: Some("vm".into()),
        rules: Vec::new(),
        routers: Default::default(),
        behind: None,
    }
}

pub(crate) fn desired() -> DesiredPort {
    DesiredPort::new(&spec(), &facts(), KERNEL).unwrap()
}

#[test]
fn the_guest_inherits_the_link_s_mac_unless_one_is_given() {
    assert_eq!(desired().guest.mac, desired().pod_mac);
    let mut spec = spec();
    spec.mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
    let port = DesiredPort::new(&spec, &facts(), KERNEL).unwrap();
    assert_eq!((port.guest.mac.0[5], port.pod_mac.0[5]), (1, 9));
}

#[test]
fn a_pod_that_cannot_lend_its_identity_is_refused_by_name() {
    type Spoil = fn(&mut PortSpec, &mut PodFacts);
    let cases: [(&str, Spoil); 8] = [
        ("is down", |_, f| f.link.up = false),
        ("no address", |_, f| f.addresses.clear()),
        ("no Ethernet", |_, f| f.link.mac = None),
        ("cannot be the guest's MAC", |_, f| f.link.mac = Some(MacAddr([0; 6]))),
        ("both called eth0", |s, _| s.tap.name = "eth0".parse().unwrap()),
        ("5 IPv4 addresses", |_, f| {
            f.addresses = (1..=5).map(|i| format!("10.0.0.{i}/24").parse().unwrap()).collect();
        }),
        ("tier xdp is not possible: eth0 is ipvlan", |s, f| {
            s.tier = TierChoice::Xdp;
            f.link.kind = "ipvlan".into();
        }),
        ("tier peer is not possible: eth0 is macvlan", |s, f| {
            s.tier = TierChoice::Peer;
            f.link.kind = "macvlan".into();
        }),
    ];
    for (expected, spoil) in cases {
        let (mut spec, mut facts) = (spec(), facts());
        spoil(&mut spec, &mut facts);
        let error = DesiredPort::new(&spec, &facts, KERNEL).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should say {expected}");
    }
}

#[test]
fn a_failed_self_test_takes_peer_away_unless_it_was_asked_for_by_name() {
    let auto = desired().heed(TierChoice::Auto, SelfTest::PeerFailed).unwrap();
    assert_eq!(auto.tier, Tier::Plain);
    assert_eq!(auto.entry(7, false).flags & PEER, 0);
    assert_eq!(
        auto.tier_reason,
        "peer failed its self-test: 10.244.0.1 answered through plain, and not through peer"
    );
    let mut alone = desired();
    alone.guest.routes.clear();
    assert_eq!(alone.heed(TierChoice::Auto, SelfTest::PeerFailed).unwrap().tier, Tier::Plain);
    let refused = desired().heed(TierChoice::Peer, SelfTest::PeerFailed).unwrap_err().to_string();
    assert!(refused.contains("failed its self-test") && refused.contains("--tier plain"), "{refused}");
    for kept in [SelfTest::NotMade, SelfTest::Proved(Tier::Peer), SelfTest::Unanswered, SelfTest::TapInUse] {
        let port = desired().heed(TierChoice::Peer, kept).unwrap();
        assert_eq!(port.tier, Tier::Peer);
        assert!(port.tier_reason.contains("another namespace; "), "{}", port.tier_reason);
    }
}

#[test]
fn a_link_without_an_address_is_wired_when_nothing_is_to_be_handed_off() {
    let (mut spec, mut facts) = (spec(), facts());
    facts.addresses.clear();
    facts.routes.clear();
    spec.hand_off.off = true;
    let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
    let entry = port.entry(7, false);
    assert_eq!(entry.flags & UNSERVED, UNSERVED);
    assert!(ADDRESS_RULES.iter().all(|rule| !entry.holds_to(*rule)));
    assert!(entry.holds_to(Rule::SourceMac) && entry.holds_to(Rule::DhcpServer));
    assert!(port.warnings[0].contains("eth0 has no address"), "{:?}", port.warnings);

    // Prefixes are an identity to hold it to, and so are addresses that the guest is not told.
    spec.guard.prefixes = ["192.0.2.0/24".parse().unwrap()].into();
    let held = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
    assert_eq!((held.entry(7, false).guard_off, held.warnings.len()), (0, 0));
    let (spec, facts) = (PortSpec { guard: GuardSpec::default(), ..spec }, self::facts());
    let entry = DesiredPort::new(&spec, &facts, KERNEL).unwrap().entry(7, false);
    assert_eq!((entry.guard_off, entry.flags & UNSERVED), (0, UNSERVED));
}

/// A pod whose link is in a bridge of KubeVirt's.
pub(crate) fn bridged() -> (PortSpec, PodFacts) {
    let (mut spec, mut facts) = (spec(), facts());
    spec.mode = Mode::Accelerate;
    spec.pod_link = "eth0-nic".parse().unwrap();
    facts.link.ifname = spec.pod_link.clone();
    facts.behind = Some(GuestBehind { mac: facts.link.mac, heard: BTreeSet::new() });
    facts.link.mac = Some(MacAddr([0x02, 0, 0, 0, 0, 0xbb]));
    facts.routes.clear();
    (spec, facts)
}

#[test]
fn an_accelerated_guest_keeps_its_mac_and_what_the_bridge_gave_it() {
    let (spec, facts) = bridged();
    let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
    let mac = self::facts().link.mac.unwrap();
    assert_eq!((port.guest.mac, port.pod_mac, port.tier), (mac, mac, Tier::Peer));
    let entry = port.entry(7, false);
    assert_eq!(entry.flags, ACTIVE | PEER | PEER_SCRUBS | BRIDGED);
    assert!(NOT_IDENTITY.iter().all(|rule| !entry.holds_to(*rule)));
    let identity = [Rule::SourceMac, Rule::SourceIpv4, Rule::SourceIpv6, Rule::ArpSender, Rule::NdTarget];
    assert!(identity.iter().all(|rule| entry.holds_to(*rule)));
    assert_eq!((port.question(), port.warnings.len()), (None, 0));
    let port = port.heed(TierChoice::Auto, SelfTest::NotMade).unwrap();
    assert!(port.tier_reason.contains("unproved: the tap is the VM's"), "{}", port.tier_reason);
}

#[test]
fn a_bridged_guest_that_would_be_cut_off_is_refused_with_the_remedy() {
    let (mut spec, mut facts) = bridged();
    let own = facts.behind.as_ref().and_then(|behind| behind.mac).unwrap();
    let other = MacAddr([2, 0, 0, 0, 0, 9]);
    facts.behind.as_mut().unwrap().heard = [own, other].into();
    let error =
        |spec: &PortSpec, facts: &PodFacts| DesiredPort::new(spec, facts, KERNEL).unwrap_err().to_string();
    let refused = error(&spec, &facts);
    assert!(refused.contains(&other.to_string()) && refused.contains("--mac"), "{refused}");
    facts.behind.as_mut().unwrap().heard = [other].into();
    spec.mac = Some(other);
    assert_eq!(DesiredPort::new(&spec, &facts, KERNEL).unwrap().pod_mac, other);
    spec.mac = None;
    spec.guard.off = RulesOff([Rule::SourceMac].into());
    assert_eq!(DesiredPort::new(&spec, &facts, KERNEL).unwrap().pod_mac, own);

    facts.behind = Some(GuestBehind::default());
    assert!(error(&spec, &facts).contains("no Ethernet address"));
    let (mut spec, facts) = bridged();
    let old = KernelFeatures { tcx: false, ..KERNEL };
    assert_eq!(DesiredPort::new(&spec, &facts, old).unwrap_err(), SpecError::NeedsTcx);
    spec.tier = TierChoice::Xdp;
    assert!(error(&spec, &facts).starts_with("tier xdp is not possible: eth0-nic is in a bridge"));
}

#[test]
fn rules_that_no_tier_passes_are_warned_of() {
    let mut facts = facts();
    facts.rules = vec!["nftables table ip istio".into()];
    let port = DesiredPort::new(&spec(), &facts, KERNEL).unwrap();
    assert_eq!(port.warnings, ["the guest's packets do not pass nftables table ip istio"]);
    assert_eq!(port.tier, Tier::Peer);
}

#[test]
fn a_smaller_mtu_is_the_guest_s_alone() {
    let mut spec = spec();
    spec.hand_off.mtu = Some(1300);
    let mut facts = facts();
    let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
    assert_eq!((port.guest.mtu, port.entry(7, false).mtu, port.warnings.len()), (1300, 1450, 0));
    facts.link.mtu = 1290;
    let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
    assert_eq!((port.guest.mtu, port.entry(7, false).mtu), (1290, 1290));
    assert_eq!(port.warnings, ["the guest is told mtu 1290 instead of 1300, as the pod is now"]);
}

#[test]
fn the_entry_holds_identity_and_addresses() {
    let entry = desired().entry(7, false);
    assert_eq!(entry_id(&entry), Some(desired().id));
    assert_eq!(entry.flags, ACTIVE | PEER | PEER_SCRUBS);
    assert_eq!((entry.pod_ifindex, entry.tap_ifindex, entry.mtu), (2, 7, 1450));
    assert_eq!(entry.ipv4.map(V4::octets)[..2], [[10, 244, 0, 9], [0; 4]]);
    assert_eq!(entry.ipv4_broadcast[0].octets(), [10, 244, 0, 255]);
    assert_eq!(entry.ipv6[0].octets()[..2], [0xfd, 0]);
    assert_eq!(entry.guest_mac.octets(), desired().guest.mac.0);
    assert_eq!(entry.link_local, entry.guest_mac.link_local());
    assert_eq!((entry.guard_off, entry.ipv6_neighbours[0]), (0, V6::UNSPECIFIED));
    assert_eq!(entry_id(&bytemuck::Zeroable::zeroed()), None);
}

#[test]
fn a_router_that_was_found_is_kept_from_the_guest_and_one_that_was_not_is_warned_of() {
    let mut facts = facts();
    let gateway = "fd00::1".parse().unwrap();
    facts.routes.push(Route {
        destination: "::/0".parse().unwrap(),
        gateway: Some(std::net::IpAddr::V6(gateway)),
        metric: 0,
    });
    let port = DesiredPort::new(&spec(), &facts, KERNEL).unwrap();
    assert!(port.warnings.len() == 1 && port.warnings[0].contains("fd00::1"), "{:?}", port.warnings);
    assert_eq!(port.entry(7, false).ipv6_neighbours[0], V6::UNSPECIFIED);

    facts.routers.insert(gateway, "fe80::1".parse().unwrap());
    let port = DesiredPort::new(&spec(), &facts, KERNEL).unwrap();
    assert_eq!(port.warnings, Vec::<String>::new());
    let hop = port.entry(7, false).ipv6_neighbours[0];
    assert_eq!(std::net::Ipv6Addr::from(hop.octets()), "fe80::1".parse::<std::net::Ipv6Addr>().unwrap());
}

#[test]
fn link_local_gateways_are_kept_from_the_guest() {
    let mut facts = facts();
    let via = |destination: &str, gateway: &str| Route {
        destination: destination.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
        metric: 0,
    };
    facts.routes = ["fd01::/64", "fd02::/64", "fd03::/64", "fd04::/64"]
        .into_iter()
        .zip(1..)
        .map(|(destination, last)| via(destination, &format!("fe80::{last}")))
        .chain([via("fd05::/64", "fe80::1"), via("fd06::/64", "fd00::1"), via("::/0", "fe80::9")])
        .collect();
    let entry = DesiredPort::new(&spec(), &facts, KERNEL).unwrap().entry(7, false);
    let mut last: Vec<u8> = entry.ipv6_neighbours.iter().map(|hop| hop.octets()[15]).collect();
    assert_eq!(last.remove(0), 9, "the default route's gateway is never left out");
    last.sort_unstable();
    last.dedup();
    assert_eq!(last.len(), 3, "each once");
}
