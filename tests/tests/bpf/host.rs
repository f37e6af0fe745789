// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy on the host: every vector, and bytes that nobody chose.

use netagent_common::{
    counters::DropReason,
    policy::{self, Meta, Verdict},
};
use proptest::prelude::*;

use crate::vectors::{self, Direction, Vector, spell};

/// What the policy makes of a vector's frame; the frame is changed as it would be in the kernel.
pub(crate) fn judge(vector: &Vector, frame: &mut [u8]) -> Verdict {
    let meta = Meta { len: frame.len() as u32, ..vector.meta };
    match vector.direction {
        Direction::FromVm => policy::from_vm(frame, meta, &vector.port),
        Direction::ToVm => policy::to_vm(frame, meta, &vector.port),
    }
}

#[test]
fn every_vector_is_judged_as_it_says() {
    for vector in vectors::all() {
        let mut frame = vector.frame.clone();
        let verdict = judge(&vector, &mut frame);
        assert_eq!(spell(verdict), vector.verdict, "{}", vector.name);
        assert_eq!(frame, vector.becomes, "{}: the frame afterwards", vector.name);
    }
}

#[test]
fn every_reason_that_a_frame_can_cause_has_a_vector() {
    let vectors = vectors::all();
    for reason in DropReason::ALL {
        // These come from the port's state, not from the frame.
        if matches!(reason, DropReason::Unconfigured | DropReason::PuntRate | DropReason::PuntFull) {
            continue;
        }
        let verdict = format!("drop {}", reason.as_str());
        assert!(vectors.iter().any(|v| v.verdict == verdict), "no vector ends in `{verdict}`");
    }
}

#[test]
fn vectors_have_names_of_their_own() {
    let mut names: Vec<_> = vectors::all().into_iter().map(|v| (v.direction as u8, v.name)).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

proptest! {
    #[test]
    fn a_frame_that_leaves_has_the_port_s_identity(
        pick in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let vectors = vectors::all();
        let vector = pick.get(&vectors);
        let mut frame = vector.frame.clone();
        for (at, value) in flips {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        frame.truncate(cut.index(frame.len() + 1));
        if vector.direction == Direction::FromVm && judge(vector, &mut frame) == Verdict::Forward {
            prop_assert_eq!(&frame[6..12], &vector.port.pod_mac);
            match frame[12..14] {
                [0x08, 0x00] => prop_assert_eq!(&frame[26..30], &vector.port.ipv4[0]),
                [0x08, 0x06] => {
                    prop_assert_eq!(&frame[22..28], &vector.port.pod_mac);
                    prop_assert!(frame[28..32] == vector.port.ipv4[0] || frame[28..32] == [0; 4]);
                }
                [0x86, 0xdd] => prop_assert!(
                    frame[22..38] == vector.port.ipv6[0] || frame[22..38] == [0; 16]
                        || (frame[22] == 0xfe && frame[23] & 0xc0 == 0x80)
                ),
                _ => prop_assert!(false, "a frame of another EtherType was forwarded"),
            }
        }
    }
}
