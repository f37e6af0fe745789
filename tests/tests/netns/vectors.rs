// SPDX-License-Identifier: MIT OR Apache-2.0
//! The vectors as real frames: written to the tap or sent on the host peer of an attached port, and what comes out at
//! the other end.

use std::collections::BTreeMap;

use netagent_tests::{
    agent::Agent,
    tap::{SegmentKind, Segments},
    vectors::{self, Direction, Vector},
};

use crate::{
    require_netns,
    wired::{Counted, Wired},
};

/// `ETH_HLEN`: no device takes less.
const SHORTEST: usize = 14;
/// A tag and the EtherType behind it, as `skb_vlan_untag` (net/core/skbuff.c) wants them: else the kernel itself drops
/// the frame, before any program sees it.
const SHORTEST_TAGGED: usize = SHORTEST + 6;
const TIERS: [&str; 2] = ["peer", "plain"];
/// Every kind of port that a vector is about.
const KINDS: [&str; 8] = vectors::PORTS;

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_vector_ends_on_the_wire_as_it_says_over_tcx() {
    every_vector_ends_on_the_wire_as_it_says(&[]);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_vector_ends_on_the_wire_as_it_says_over_clsact() {
    every_vector_ends_on_the_wire_as_it_says(&["--without", "tcx"]);
}

fn every_vector_ends_on_the_wire_as_it_says(arguments: &[&str]) {
    require_netns!();
    let agent = arguments.iter().fold(Agent::builder(), |builder, word| builder.arg(*word)).start().unwrap();
    let all = vectors::all();
    let mut wrong = Vec::new();
    let mut ran = 0;
    for kind in KINDS {
        let of_kind: Vec<&Vector> =
            all.iter().filter(|vector| vector.kind == kind && fits_the_wire(vector)).collect();
        let port = vectors::port(kind);
        let mut wired = Wired::attach(&agent, &port, TIERS[0]).unwrap();
        for tier in TIERS {
            wired.switch(&agent, &port, tier).unwrap();
            let mut before = wired.counted(&agent).unwrap();
            for vector in &of_kind {
                wired.learn(vector.learned).unwrap();
                let arrived = cross(&mut wired, vector);
                let after = wired.counted(&agent).unwrap();
                if let Err(error) = judge(vector, &arrived, &moved(&before, &after)) {
                    wrong.push(format!("{kind}, {tier}: {}: {error}", vector.name));
                }
                before = after;
                ran += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {ran} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ran > 400, "only {ran} vectors crossed the wire");
}

/// What a device carries at all: tun and AF_PACKET want a whole Ethernet header, and say so by an error. From the node
/// comes what the packet socket says, which says nothing of segments.
pub(crate) fn fits_the_wire(vector: &Vector) -> bool {
    let is_tagged = matches!(vector.frame.get(12..SHORTEST), Some([0x81, 0x00] | [0x88, 0xa8]));
    let to_be_cut = vector.direction == Direction::ToVm && vector.meta.gso_size != 0;
    vector.frame.len() >= if is_tagged { SHORTEST_TAGGED } else { SHORTEST } && !to_be_cut
}

/// Sends the vector's frame and gives what came out.
pub(crate) fn cross(wired: &mut Wired, vector: &Vector) -> Vec<Vec<u8>> {
    let frame = tagged(vector, &vector.frame);
    match vector.direction {
        Direction::ToVm => wired.node_sends(&frame),
        Direction::FromVm if vector.meta.gso_size == 0 => wired.guest_sends(|tap| tap.send(&frame)),
        Direction::FromVm => wired.guest_sends(|tap| tap.send_segments(&frame, segments(vector, &frame))),
    }
    .unwrap()
}

/// The frame with the tag that the kernel takes out of it.
fn tagged(vector: &Vector, frame: &[u8]) -> Vec<u8> {
    let tag = vector.meta.tag;
    if tag.is_none() {
        return frame.to_vec();
    }
    [&frame[..12], &tag.protocol.to_be_bytes(), &tag.tci.to_be_bytes(), &frame[12..]].concat()
}

/// As a card describes TCP or UDP without options or extension headers.
fn segments(vector: &Vector, frame: &[u8]) -> Segments {
    let v6 = frame[12..14] == [0x86, 0xdd];
    let transport = SHORTEST as u16 + if v6 { 40 } else { 20 };
    let udp = frame[if v6 { 20 } else { 23 }] == 17;
    let (kind, header, checksum_offset) = match (udp, v6) {
        (true, _) => (SegmentKind::Udp, 8, 6),
        (false, false) => (SegmentKind::Tcp4, 20, 16),
        (false, true) => (SegmentKind::Tcp6, 20, 16),
    };
    Segments {
        kind,
        header_len: transport + header,
        size: vector.meta.gso_size as u16,
        checksum_start: transport,
        checksum_offset,
    }
}

/// The counters that moved. What the pod's own stack wanted to say meanwhile is not about the frame.
pub(crate) fn moved(before: &Counted, after: &Counted) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0)))
        .filter(|(name, count)| *count > 0 && name != "pod_stack")
        .collect()
}

fn judge(vector: &Vector, arrived: &[Vec<u8>], moved: &BTreeMap<String, u64>) -> Result<(), String> {
    let way = match vector.direction {
        Direction::FromVm => "from_vm",
        Direction::ToVm => "to_vm",
    };
    let outcome = vectors::outcome(&vector.verdict);
    let forwarded = outcome == "forward";
    let expected: Vec<Vec<u8>> = if forwarded { vec![tagged(vector, &vector.becomes)] } else { Vec::new() };
    if arrived != expected {
        return Err(format!("not {} but {} arrived", hex(&expected), hex(arrived)));
    }
    // One for the mark.
    let mut counted = BTreeMap::from([(way.to_owned(), 1 + u64::from(forwarded))]);
    match outcome.strip_prefix("drop ") {
        Some(reason) => counted.insert(reason.to_owned(), 1),
        None if outcome == "punt" => counted.insert("punted".to_owned(), 1),
        None => None,
    };
    if *moved != counted { Err(format!("not {counted:?} but {moved:?} was counted")) } else { Ok(()) }
}

/// Frames as the vectors' files have them.
fn hex(frames: &[Vec<u8>]) -> String {
    let spelt = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("[{}]", frames.iter().map(spelt).collect::<Vec<_>>().join(", "))
}
