// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy on the host: every vector, and bytes that nobody chose.

use std::collections::BTreeSet;

use netagent_common::{
    address::{V4, V6},
    counters::DropReason,
    maps::{BRIDGED, Port, UNSERVED},
    policy::{self, Meta, Verdict},
};
use proptest::prelude::*;

use crate::vectors::{self, Direction, LEARNED, Vector, spell};

/// What the policy makes of a vector's frame; the frame is changed as it would be in the kernel.
pub(crate) fn judge(vector: &Vector, frame: &mut [u8]) -> Verdict {
    let meta = Meta { len: frame.len() as u32, ..vector.meta };
    let learned = || if vector.learned { LEARNED } else { V6::UNSPECIFIED };
    match vector.direction {
        Direction::FromVm => policy::from_vm(frame, meta, &vector.port, learned),
        Direction::ToVm => policy::to_vm(frame, meta, &vector.port, learned),
    }
}

#[test]
fn every_vector_is_judged_as_it_says() {
    for vector in vectors::all() {
        let mut frame = vector.frame.clone();
        let verdict = judge(vector, &mut frame);
        assert_eq!(spell(verdict), vector.verdict, "{}", vector.name);
        assert_eq!(frame, vector.becomes, "{}: the frame afterwards", vector.name);
    }
}

/// A vector's port, in a bridge.
pub(crate) fn bridged(vector: &Vector) -> Vector {
    let mut vector = vector.clone();
    vector.port.flags |= BRIDGED;
    if vector.verdict.starts_with("punt") {
        vector.verdict = spell(Verdict::Bridge);
    }
    vector
}

#[test]
fn a_bridged_port_leaves_to_its_bridge_what_others_hand_to_the_agent_and_no_more() {
    let mut left = 0;
    for vector in vectors::all().iter().map(bridged) {
        let mut frame = vector.frame.clone();
        assert_eq!(spell(judge(&vector, &mut frame)), vector.verdict, "{}", vector.name);
        assert_eq!(frame, vector.becomes, "{}: the frame afterwards", vector.name);
        left += usize::from(vector.verdict == spell(Verdict::Bridge));
    }
    assert!(left > 5, "only {left} frames are left to the bridge");
}

#[test]
fn a_plain_frame_is_one_that_the_rules_forward_as_it_is() {
    let mut plain = BTreeSet::new();
    for vector in vectors::all() {
        let mut vector = vector.clone();
        for shared in [false, true] {
            if shared {
                let Port { guest_mac, pod_mac, .. } = &mut vector.port;
                match vector.direction {
                    Direction::FromVm => *pod_mac = *guest_mac,
                    Direction::ToVm => *guest_mac = *pod_mac,
                }
            }
            if is_plain_as_the_rules_have_it(&vector).unwrap() {
                plain.insert(vector.name.clone());
            }
        }
    }
    for name in [
        "TCP over IPv4",
        "TCP over IPv6",
        "IPv4 from the guest",
        "IPv6 from the guest",
        "IPv4 for the guest",
        "IPv6 for the guest",
    ] {
        assert!(plain.contains(name), "`{name}` does not take the short way: {plain:?}");
    }
}

/// Whether the frame is plain; an error where the rules say otherwise.
fn is_plain_as_the_rules_have_it(vector: &Vector) -> Result<bool, String> {
    let meta = Meta { len: vector.frame.len() as u32, ..vector.meta };
    let is_plain = match vector.direction {
        Direction::FromVm => policy::is_plain_from_vm,
        Direction::ToVm => policy::is_plain_to_vm,
    };
    let plain = is_plain(vector.frame.as_slice(), meta, &vector.port);
    let mut frame = vector.frame.clone();
    let verdict = judge(vector, &mut frame);
    if plain && (verdict != Verdict::Forward || frame != vector.frame) {
        return Err(format!("{}: taken for plain, and the rules say {verdict:?}", vector.name));
    }
    Ok(plain)
}

#[test]
fn every_reason_that_a_frame_can_cause_has_a_vector() {
    let vectors = vectors::all();
    for reason in DropReason::ALL {
        // These come from the port's state or from `from_pod`, not from the frame.
        if matches!(
            reason,
            DropReason::Unconfigured | DropReason::PuntRate | DropReason::PuntFull | DropReason::PodStack
        ) {
            continue;
        }
        let verdict = format!("drop {}", reason.as_str());
        assert!(vectors.iter().any(|v| v.verdict == verdict), "no vector ends in `{verdict}`");
    }
}

#[test]
fn vectors_have_names_of_their_own() {
    let mut names: Vec<_> = vectors::all().iter().map(|v| (v.direction as u8, &v.name)).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// What is done to a vector to get a frame that nobody chose: another port, a tag, other bytes, fewer of them.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    pick: prop::sample::Index,
    port: Option<prop::sample::Index>,
    tag: Option<u16>,
    flips: Vec<(prop::sample::Index, u8)>,
    cut: Option<prop::sample::Index>,
    learned: bool,
    /// The guest has the pod link's MAC: nothing is rewritten.
    shared: bool,
}

impl Mutation {
    pub(crate) fn apply(&self, vectors: &[Vector]) -> Vector {
        let mut vector = self.pick.get(vectors).clone();
        if let Some(port) = &self.port {
            vector.port = vectors::port(port.get::<&str>(&vectors::PORTS));
        }
        vector.learned |= self.learned;
        if self.shared {
            vector.port.pod_mac = vector.port.guest_mac;
        }
        if let Some(tci) = self.tag
            && vector.frame.len() >= 12
        {
            let [high, low] = tci.to_be_bytes();
            vector.frame.splice(12..12, [0x81, 0, high, low]);
        }
        for (at, value) in &self.flips {
            // Headers are where it matters.
            let reach = vector.frame.len().min(128);
            vector.frame[at.index(reach)] = *value;
        }
        if let Some(cut) = &self.cut
            && vector.frame.len() > 14
        {
            let keep = vectors::shortest_test_run(&vector.frame).min(vector.frame.len());
            vector.frame.truncate(keep + cut.index(vector.frame.len() - keep + 1));
        }
        vector
    }
}

pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let tag = prop_oneof![Just(7), Just(42), Just(0x2007), Just(8), any::<u16>()];
    (
        index(),
        prop::option::weighted(0.5, index()),
        prop::option::weighted(0.2, tag),
        prop::collection::vec((index(), any::<u8>()), 0..5),
        prop::option::weighted(0.3, index()),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(pick, port, tag, flips, cut, learned, shared)| Mutation {
            pick,
            port,
            tag,
            flips,
            cut,
            learned,
            shared,
        })
}

fn v4(frame: &[u8], at: usize) -> V4 {
    V4::new(frame[at..at + 4].try_into().unwrap())
}

fn v6(frame: &[u8], at: usize) -> V6 {
    V6::new(frame[at..at + 16].try_into().unwrap())
}

/// The identity as plain as it can be said, without the policy's code.
fn has_the_port_s_identity(vector: &Vector, frame: &[u8]) -> Result<(), String> {
    let port = &vector.port;
    let check = |kept: bool, what: &str| if kept { Ok(()) } else { Err(what.to_owned()) };
    check(frame[6..12] == port.pod_mac.octets(), "source MAC")?;
    let tagged = frame[12..14] == [0x81, 0x00];
    if tagged {
        let id = u16::from_be_bytes([frame[14], frame[15]]) & 0xfff;
        check(port.vlans.contains(&id) && id != 0, "VLAN")?;
    }
    let at = if tagged { 18 } else { 14 };
    let own4 = |a: V4| port.ipv4[0] == a || port.ipv4_prefixes.iter().any(|p| p.holds(a));
    let own6 = |a: V6| {
        port.ipv6[0] == a
            || port.link_local == a
            || vector.learned && a == LEARNED
            || port.ipv6_prefixes.iter().any(|p| p.holds(a))
    };
    match frame[at - 2..at] {
        [0x08, 0x00] => {
            let asks = tagged || port.flags & UNSERVED != 0;
            let dhcp = asks && frame[at + 9] == 17 && v4(frame, at + 12) == V4::UNSPECIFIED;
            check(own4(v4(frame, at + 12)) || dhcp, "IPv4 source")
        }
        [0x08, 0x06] => {
            let sender = v4(frame, at + 14);
            let probe = sender == V4::UNSPECIFIED && own4(v4(frame, at + 24));
            check(frame[at + 8..at + 14] == port.pod_mac.octets(), "ARP sender MAC")?;
            check(own4(sender) || probe, "ARP sender")
        }
        [0x86, 0xdd] => {
            let source = v6(frame, at + 8);
            check(own6(source) || source.is_unspecified(), "IPv6 source")
        }
        [high, low] => check(port.ethertypes.contains(&u16::from_be_bytes([high, low])), "EtherType"),
        _ => Err("no EtherType".to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_that_leaves_has_the_port_s_identity(mutation in mutation()) {
        let vector = mutation.apply(vectors::all());
        let mut frame = vector.frame.clone();
        is_plain_as_the_rules_have_it(&vector).map_err(TestCaseError::fail)?;
        if vector.direction == Direction::FromVm
            && vector.port.guard_off == 0
            && vector.meta.tag.is_none()
            && judge(&vector, &mut frame) == Verdict::Forward
        {
            has_the_port_s_identity(&vector, &frame).map_err(TestCaseError::fail)?;
        }
    }
}
