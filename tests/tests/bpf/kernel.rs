// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiled programs in this kernel: what they say is what the host says.

use netagent::core::program::Program;
use netagent_common::{
    counters::DropReason,
    maps::{Bucket, MAX_PORTS, PuntKind, TOO_BIG_FRAME},
    policy::{self, Verdict},
    wire::eth::Tag,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    host::{bridged, judge, mutation},
    programs::Programs,
    vectors::{self, Direction, LEARNED, outcome, spell},
};

/// Lowest, highest and one in between: the slot is the only thing in which ports' programs differ.
const SLOTS: [u32; 3] = [0, 7, MAX_PORTS - 1];

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn every_vector_ends_in_the_kernel_as_on_the_host() {
    let programs = Programs::load(7);
    let mut ran = 0;
    for vector in vectors::all().iter().filter(|v| v.fits_test_run()) {
        programs.configure(&vector.port);
        programs.learn(vector.learned);
        let (said, frame) = programs.run(vector.direction, &vector.frame);
        assert_eq!(said, outcome(&vector.verdict), "{}", vector.name);
        assert_eq!(frame, vector.becomes, "{}: the frame afterwards", vector.name);
        ran += 1;
    }
    assert!(ran > 250, "only {ran} vectors ran");
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn what_is_the_bridge_s_goes_on_as_it_came() {
    let programs = Programs::load(7);
    let mut left = 0;
    for vector in vectors::all().iter().filter(|v| v.fits_test_run()).map(bridged) {
        if vector.verdict != spell(Verdict::Bridge) {
            continue;
        }
        programs.configure(&vector.port);
        programs.learn(vector.learned);
        let (said, frame) = programs.run(vector.direction, &vector.frame);
        assert_eq!((said.as_str(), frame), ("bridge", vector.frame), "{}", vector.name);
        left += 1;
    }
    assert!(left > 5, "only {left} frames are left to the bridge");
}

/// Frames of the property test: fewer where the environment says so, as an emulated kernel is slow.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(6000, |cases| cases.parse().unwrap())
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn xdp_says_what_the_host_says_or_leaves_it_to_tcx() {
    let programs = Programs::load(7);
    programs.set_targets();
    let (mut decided, mut passed) = (0, 0);
    for vector in vectors::all().iter().filter(|v| v.fits_test_run()) {
        programs.configure(&vector.port);
        programs.learn(vector.learned);
        let (said, frame) = programs.run_xdp(vector.direction, &vector.frame);
        let left = vector.verdict.starts_with("punt")
            || vector.verdict == spell(Verdict::TooBig)
            || policy::needs_skb(vector.frame.as_slice(), vector.frame.len() as u32, &vector.port);
        if left {
            assert_eq!(said, "pass", "{}", vector.name);
            assert_eq!(frame, vector.frame, "{}: tc must get it as it came", vector.name);
            passed += 1;
        } else {
            assert_eq!(said, outcome(&vector.verdict), "{}", vector.name);
            assert_eq!(frame, vector.becomes, "{}: the frame afterwards", vector.name);
            decided += 1;
        }
    }
    assert!(decided > 200 && passed > 10, "{decided} decided, {passed} passed on");
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn xdp_without_a_port_or_a_target_leaves_all_to_tcx() {
    let programs = Programs::load(7);
    for vector in vectors::all().iter().filter(|v| v.fits_test_run()) {
        let (said, frame) = programs.run_xdp(vector.direction, &vector.frame);
        assert_eq!((said.as_str(), &frame), ("pass", &vector.frame), "{}", vector.name);
    }
    let vector = vectors::all().iter().find(|v| v.name == "IPv4 from the guest").unwrap();
    programs.configure(&vector.port);
    assert_eq!(programs.run_xdp(Direction::FromVm, &vector.frame).0, "pass");
    programs.set_targets();
    assert_eq!(programs.run_xdp(Direction::FromVm, &vector.frame).0, "forward");
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn host_and_kernel_agree_on_frames_that_nobody_chose() {
    let programs = Programs::load(0);
    let all = vectors::all();
    let mut runner =
        TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
    let result = runner.run(&mutation(), |mutation| {
        let mut vector = mutation.apply(all);
        let shortest = vectors::shortest_test_run(&vector.frame);
        prop_assume!(vector.frame.len() >= shortest);
        (vector.meta.tag, vector.meta.gso_size) = (Tag::default(), 0);
        let mut on_host = vector.frame.clone();
        let verdict = spell(judge(&vector, &mut on_host));
        programs.configure(&vector.port);
        programs.learn(vector.learned);
        let (said, in_kernel) = programs.run(vector.direction, &vector.frame);
        // Bucket and ring are the kernel's own affair, and nobody reads the ring here.
        if said == "drop punt_rate" || said == "drop punt_full" {
            prop_assert!(verdict.starts_with("punt"), "{}", verdict);
        } else {
            prop_assert_eq!(said, outcome(&verdict), "{}", vector.name);
            prop_assert_eq!(in_kernel, on_host);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn a_claimed_address_is_learned_and_given_up_when_somebody_defends_it() {
    let programs = Programs::load(7);
    let all = vectors::all();
    let named = |name: &str| all.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no `{name}`"));
    let claim = named("detection of a link-local address that the guest chose");
    let use_it = named("IPv6 from the learned link-local address");
    let defended = named("somebody else defends the learned address");
    let run = |vector: &vectors::Vector| programs.run(vector.direction, &vector.frame).0;

    programs.configure(&claim.port);
    programs.learn(false);
    assert_eq!(run(use_it), "drop source_ipv6");
    assert_eq!(run(claim), "forward");
    assert_eq!(programs.learned().address(), LEARNED);
    assert_eq!(run(use_it), "forward");
    assert_eq!(run(defended), "forward", "the guest is to see it");
    assert_eq!(programs.learned().interface, 0);
    assert_eq!(run(use_it), "drop source_ipv6");
    assert_eq!(run(claim), "drop nd_target", "one change a second");
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn a_slot_without_a_port_lets_nothing_through() {
    for slot in SLOTS {
        let programs = Programs::load(slot);
        for vector in vectors::all().iter().filter(|v| v.fits_test_run()) {
            let (said, frame) = programs.run(vector.direction, &vector.frame);
            assert_eq!(said, "drop unconfigured", "{}", vector.name);
            assert_eq!(frame, vector.frame);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn without_the_rules_nothing_passes_that_needs_them() {
    let programs = Programs::load(7);
    programs.forget_the_rules();
    // By direction.
    let (mut plain, mut refused) = ([0; 2], [0; 2]);
    for vector in vectors::all().iter().filter(|v| v.fits_test_run()) {
        programs.configure(&vector.port);
        programs.learn(vector.learned);
        let (said, frame) = programs.run(vector.direction, &vector.frame);
        if said == "forward" {
            assert_eq!(vector.verdict, "forward", "{}", vector.name);
            plain[vector.direction as usize] += 1;
        } else {
            assert_eq!(said, "drop unconfigured", "{}", vector.name);
            refused[vector.direction as usize] += 1;
        }
        assert_eq!(frame, vector.frame, "{}: not rewritten without the rules", vector.name);
    }
    assert!(
        plain.iter().all(|n| *n > 0) && refused.iter().all(|n| *n > 40),
        "{plain:?} plain, {refused:?} refused"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn each_slot_has_its_own_settings_and_counters() {
    for slot in SLOTS {
        let programs = Programs::load(slot);
        let vector = vectors::all().iter().find(|v| v.name == "IPv4 from the guest").unwrap();
        programs.configure(&vector.port);
        assert_eq!(programs.run(Direction::FromVm, &vector.frame).0, "forward");
        for other in SLOTS.into_iter().filter(|other| *other != slot) {
            assert_eq!(programs.datapath().maps().counters(other).unwrap().from_vm.packets, 0);
        }
        let bytes = programs.counters().from_vm.bytes;
        assert_eq!(bytes, vector.frame.len() as u64);
        programs.datapath().maps().erase_entry(slot).unwrap();
        assert_eq!(programs.counters().from_vm.packets, 0, "the next port starts from zero");
    }
}

#[tokio::test]
#[ignore = "needs root: cargo xtask test bpf"]
async fn punted_frames_reach_the_ring_whole_and_a_flood_is_bounded() {
    let programs = Programs::load(7);
    let mut ring = programs.datapath().punt_ring().unwrap();
    let vector = vectors::all().iter().find(|v| v.verdict == "punt dhcpv4").unwrap();
    programs.configure(&vector.port);
    let flood = 1000;
    for _ in 0..flood {
        programs.run(Direction::FromVm, &vector.frame);
    }
    let counters = programs.counters();
    let refused = counters.drops[DropReason::PuntRate as usize].packets;
    // Where the flood takes seconds, tokens come back faster than the ring, which nobody empties, has room.
    let full = counters.drops[DropReason::PuntFull as usize].packets;
    assert_eq!(counters.punted.packets + refused + full, flood);
    // The burst, and what came back while the flood ran: far less than the flood.
    assert!((Bucket::BURST..flood / 2).contains(&counters.punted.packets), "{counters:?}");

    let mut seen = 0;
    while seen < counters.punted.packets {
        ring.drain(|punted| {
            seen += 1;
            assert_eq!((punted.slot, PuntKind::from_u32(punted.kind)), (7, Some(PuntKind::Dhcpv4)));
            assert_eq!(&punted.frame[..punted.len as usize], vector.frame);
        })
        .await
        .unwrap();
    }
    assert_eq!(seen, counters.punted.packets);
}

#[tokio::test]
#[ignore = "needs root: cargo xtask test bpf"]
async fn the_beginning_of_a_frame_over_the_mtu_reaches_the_ring() {
    let programs = Programs::load(7);
    let mut ring = programs.datapath().punt_ring().unwrap();
    let vector = vectors::all().iter().find(|v| v.name == "one byte over the MTU").unwrap();
    programs.configure(&vector.port);
    assert_eq!(programs.run(Direction::FromVm, &vector.frame).0, "drop oversized");
    let mut seen = 0;
    while seen == 0 {
        ring.drain(|punted| {
            seen += 1;
            assert_eq!((punted.slot, PuntKind::from_u32(punted.kind)), (7, Some(PuntKind::TooBig)));
            assert_eq!((punted.len, punted.frame_len, punted.tag), (TOO_BIG_FRAME, 1515, 0));
            assert_eq!(punted.frame[..TOO_BIG_FRAME as usize], vector.frame[..TOO_BIG_FRAME as usize]);
        })
        .await
        .unwrap();
    }
    assert_eq!(seen, 1);
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn a_pinned_map_of_another_layout_is_refused() {
    use aya::maps::{Array, MapData};
    use netagent::datapath::{Datapath, DatapathError, Pins};
    use netagent_tests::{bpffs::BpfFs, require::Need};

    netagent_tests::require!(Need::Root, Need::BpfFs);
    let dir = tempfile::tempdir().unwrap();
    let bpffs = BpfFs::mount(&dir.path().join("bpf")).unwrap();
    let pins = Pins::below(bpffs.path());
    std::fs::create_dir_all(pins.directory()).unwrap();
    let other: Array<MapData, u64> = Array::create(4, 0).unwrap();
    other.pin(pins.map("PORTS")).unwrap();

    let Err(error) = Datapath::open(bpffs.path(), &[]) else {
        panic!("a map of 8-byte values was taken for ports")
    };
    assert!(matches!(error, DatapathError::Layout { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("value 8 B") && text.contains("netagent cleanup"), "{text}");
}

#[test]
#[ignore = "needs root: cargo xtask test bpf"]
fn two_loads_have_the_same_tag_and_the_programs_have_two() {
    let (one, two) = (Programs::load(0), Programs::load(1));
    for program in Program::ALL {
        assert_eq!(one.datapath().tag(program), two.datapath().tag(program));
    }
    assert_ne!(one.datapath().tag(Program::FromVm), one.datapath().tag(Program::ToVm));
}
