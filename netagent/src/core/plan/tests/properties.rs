// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds of a plan for every state of the model kernel.

use proptest::prelude::*;

use super::*;

prop_compose! {
    fn any_xdp_program()(kind in 0..4u8) -> ObservedProgram {
        match kind {
            0 => ObservedProgram::Absent,
            1 => ObservedProgram::Severed,
            k => ObservedProgram::Attached { hook: Hook::Xdp, current: k == 2 },
        }
    }
}

prop_compose! {
    fn any_program()(kind in 0..6u8) -> ObservedProgram {
        match kind {
            0 => ObservedProgram::Absent,
            1 => ObservedProgram::Severed,
            k => ObservedProgram::Attached {
                hook: if k & 1 == 0 { Hook::Tcx } else { Hook::Clsact },
                current: k < 4,
            },
        }
    }
}

prop_compose! {
    fn any_observed()(
        tap in prop::option::of((any::<bool>(), any::<bool>(), 1400u32..1500)),
        entry in prop::option::of((0u32..8, any::<bool>())),
        from_vm in any_program(),
        from_pod in any_program(),
        to_vm in any_program(),
        xdp in (any_xdp_program(), any_xdp_program(), prop::option::of(1u32..4), any::<bool>()),
        clsact in 0..3u8,
        serving in any::<bool>(),
    ) -> Observed {
        let desired = desired();
        let has_tap = tap.is_some();
        Observed {
            tap: tap.map_or(ObservedTap::Absent, |(up, noqueue, mtu)| ObservedTap::Ours(Tap {
                ifindex: 42, mtu, multi_queue: false, uid: Some(107), gid: Some(107), noqueue, up,
            mac: None,
            })),
            entry: entry.map(|(slot, owns)| (slot, desired.entry(7, owns))),
            slot: entry.map_or(Some(5), |(slot, _)| Some(slot)),
            // A program cannot be attached to a tap that is not there.
            from_vm: match from_vm {
                ObservedProgram::Attached { .. } if !has_tap => ObservedProgram::Severed,
                other => other,
            },
            from_pod,
            to_vm,
            xdp_from_vm: match xdp.0 {
                ObservedProgram::Attached { .. } if !has_tap => ObservedProgram::Severed,
                other => other,
            },
            xdp_to_vm: xdp.1,
            // Places are those of a slot that is taken; the kernel empties that of a device that is gone.
            targets: match entry {
                Some(_) => Targets { pod_link: xdp.2, tap: (xdp.3 && has_tap).then_some(42) },
                None => Targets::default(),
            },
            clsact: [Clsact::Absent, Clsact::Ours, Clsact::Shared][clsact as usize],
            serving: serving.then_some(desired.guest),
        }
    }
}

proptest! {
    #[test]
    fn one_pass_reaches_what_is_desired(
        mut observed in any_observed(),
        clsact in any::<bool>(),
        xdp in any::<bool>(),
    ) {
        let mut desired = desired();
        if xdp { desired.tier = Tier::Xdp; }
        if clsact { desired.hook = Hook::Clsact; }
        for step in plan(Some(&desired), &observed, &name()).unwrap() {
            apply(&mut observed, &step);
        }
        prop_assert_eq!(plan(Some(&desired), &observed, &name()).unwrap(), vec![]);
    }

    #[test]
    fn any_prefix_of_the_steps_can_be_the_last(
        observed in any_observed(),
        stop in 0usize..12,
        xdp in any::<bool>(),
    ) {
        let mut desired = desired();
        if xdp { desired.tier = Tier::Xdp; }
        let steps = plan(Some(&desired), &observed, &name()).unwrap();
        let mut crashed = observed;
        for step in steps.iter().take(stop) {
            apply(&mut crashed, step);
        }
        for step in plan(Some(&desired), &crashed, &name()).unwrap() {
            apply(&mut crashed, &step);
        }
        prop_assert_eq!(plan(Some(&desired), &crashed, &name()).unwrap(), vec![]);
    }

    #[test]
    fn a_tap_that_we_set_up_has_its_filter_and_its_entry(mut observed in any_observed()) {
        let desired = desired();
        for step in plan(Some(&desired), &observed, &name()).unwrap() {
            apply(&mut observed, &step);
            if step == Step::SetTapUp {
                let attached = matches!(observed.from_vm, ObservedProgram::Attached { .. });
                prop_assert!(attached);
                prop_assert!(observed.entry.is_some());
            }
        }
    }

    #[test]
    fn nothing_desired_leaves_nothing(mut observed in any_observed(), stop in 0usize..12) {
        let steps = plan(None, &observed, &name()).unwrap();
        for step in steps.iter().take(stop) {
            apply(&mut observed, step);
        }
        for step in plan(None, &observed, &name()).unwrap() {
            apply(&mut observed, &step);
        }
        // What deleting the tap severed is seen in the next look.
        for step in plan(None, &observed, &name()).unwrap() {
            apply(&mut observed, &step);
        }
        prop_assert!(is_empty(&observed), "{:?}", observed);
    }
}
