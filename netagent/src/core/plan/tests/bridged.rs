// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mode `accelerate`: the tap is somebody else's from the beginning to the end.

use proptest::prelude::*;

use super::*;
use crate::core::desired::tests::{KERNEL, bridged};

fn accelerated() -> DesiredPort {
    let (spec, facts) = bridged();
    DesiredPort::new(&spec, &facts, KERNEL).unwrap()
}

fn tap(ifindex: u32) -> Tap {
    Tap { ifindex, mtu: 1400, multi_queue: true, uid: Some(107), gid: Some(107), noqueue: false, up: true }
}

fn pod() -> Observed {
    Observed { tap: ObservedTap::Bridged(tap(42)), slot: Some(3), ..Observed::default() }
}

#[test]
fn programs_are_all_that_comes_and_goes() {
    let mut observed = pod();
    let steps = plan(Some(&accelerated()), &observed, &name()).unwrap();
    assert_eq!(
        text(&steps),
        "write entry 3: tier peer, guest 0a:58:0a:f4:00:09, pod link 0a:58:0a:f4:00:09, mtu 1450, 10.244.0.9, fd00::9\n\
         attach from_vm for slot 3 to tap ingress by tcx\n\
         attach from_pod for slot 3 to pod link egress by tcx\n\
         attach to_vm for slot 3 to pod link ingress by tcx\n"
    );
    for step in steps {
        apply(&mut observed, &step);
    }
    assert_eq!(plan(Some(&accelerated()), &observed, &name()).unwrap(), []);
    let steps = plan(None, &observed, &name()).unwrap();
    assert_eq!(
        text(&steps),
        "detach to_vm from pod link ingress by tcx\n\
         detach from_pod from pod link egress by tcx\n\
         detach from_vm from tap ingress by tcx\n\
         erase entry 3\n"
    );
    for step in steps {
        apply(&mut observed, &step);
    }
    assert_eq!(observed, pod());
}

#[test]
fn without_the_bridge_everything_is_taken_off_and_then_it_is_refused() {
    for tap in [ObservedTap::Absent, ObservedTap::Foreign("a veth".into())] {
        let mut observed = pod();
        for step in plan(Some(&accelerated()), &observed, &name()).unwrap() {
            apply(&mut observed, &step);
        }
        if tap == ObservedTap::Absent {
            observed.from_vm = ObservedProgram::Severed;
        }
        observed.tap = tap.clone();
        for step in plan(Some(&accelerated()), &observed, &name()).unwrap() {
            apply(&mut observed, &step);
        }
        assert_eq!(observed, Observed { tap, ..Observed { slot: Some(3), ..Observed::default() } });
        let refusal = plan(Some(&accelerated()), &observed, &name()).unwrap_err().to_string();
        assert!(refusal.starts_with("tap0 is not a tap in one bridge with eth0-nic ("), "{refusal}");
    }
}

#[test]
fn a_bridged_tap_is_no_tap_for_the_other_mode() {
    let refusal = plan(Some(&desired()), &pod(), &name()).unwrap_err().to_string();
    assert!(refusal.contains("tap0 exists") && refusal.contains("in one bridge"), "{refusal}");
    assert_eq!(plan(None, &pod(), &name()).unwrap(), []);
}

fn any_program() -> impl Strategy<Value = ObservedProgram> {
    prop_oneof![
        Just(ObservedProgram::Absent),
        Just(ObservedProgram::Severed),
        any::<bool>().prop_map(|current| ObservedProgram::Attached { hook: Hook::Tcx, current }),
    ]
}

proptest! {
    #[test]
    fn from_any_state_one_pass_gets_there_or_back_and_touches_no_device(
        programs in [any_program(), any_program(), any_program()],
        entry in any::<bool>(),
        stop in 0usize..8,
        wanted in any::<bool>(),
    ) {
        let mut observed = pod();
        [observed.from_vm, observed.from_pod, observed.to_vm] = programs;
        observed.entry = entry.then(|| (3, accelerated().entry(7, false)));
        let desired = wanted.then(accelerated);
        for step in plan(desired.as_ref(), &observed, &name()).unwrap().iter().take(stop) {
            apply(&mut observed, step);
        }
        for step in plan(desired.as_ref(), &observed, &name()).unwrap() {
            apply(&mut observed, &step);
        }
        prop_assert_eq!(plan(desired.as_ref(), &observed, &name()).unwrap(), vec![]);
        prop_assert_eq!(&observed.tap, &ObservedTap::Bridged(tap(42)));
        if !wanted {
            prop_assert_eq!(observed, pod());
        }
    }
}
