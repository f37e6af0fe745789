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

/// What a look at a port that is as desired shows, said without any plan's help.
fn satisfied(desired: &DesiredPort) -> Observed {
    let on = |hook| ObservedProgram::Attached { hook, current: true };
    let xdp = desired.tier == Tier::Xdp;
    let on_xdp = if xdp { on(Hook::Xdp) } else { ObservedProgram::Absent };
    let clsact = desired.hook == Hook::Clsact;
    let mut entry = desired.entry(42, clsact);
    entry.flags |= SelfTest::Proved(Tier::Peer).to_flags();
    Observed {
        tap: ObservedTap::Ours(Tap {
            ifindex: 42,
            mtu: desired.pod_link.mtu,
            multi_queue: desired.tap.queues > 1,
            uid: desired.tap.uid,
            gid: desired.tap.gid,
            noqueue: true,
            up: true,
        }),
        entry: Some((3, entry)),
        slot: Some(3),
        from_vm: on(desired.hook),
        from_pod: on(desired.hook),
        to_vm: on(desired.hook),
        xdp_from_vm: on_xdp,
        xdp_to_vm: on_xdp,
        targets: if xdp {
            Targets { pod_link: Some(desired.pod_link.ifindex), tap: Some(42) }
        } else {
            Targets::default()
        },
        clsact: if clsact { Clsact::Ours } else { Clsact::Absent },
        serving: Some(desired.guest.clone()),
    }
}

/// Whether a guest cannot send past the programs: its tap is down, or not there, or guarded with settings.
fn is_guarded(observed: &Observed) -> bool {
    let up = matches!(&observed.tap, ObservedTap::Ours(tap) if tap.up);
    !up || (matches!(observed.from_vm, ObservedProgram::Attached { .. }) && observed.entry.is_some())
}

/// The place of a step in the order of going: the reverse of that of coming. `None` for what only adds.
fn order_of_going(step: &Step) -> Option<u8> {
    match step {
        Step::StopServing(_) => Some(0),
        Step::DeleteTap { .. } => Some(1),
        Step::RemoveSeveredPin(_) => Some(2),
        Step::Detach { .. } => Some(3),
        Step::ClearTarget { .. } => Some(4),
        Step::RemoveClsact => Some(5),
        Step::EraseEntry(_) => Some(6),
        _ => None,
    }
}

#[test]
fn a_port_that_is_as_desired_needs_nothing() {
    for tier in [Tier::Peer, Tier::Plain, Tier::Xdp] {
        for hook in [Hook::Tcx, Hook::Clsact] {
            for queues in [1, 4] {
                let mut desired = desired();
                (desired.tier, desired.hook, desired.tap.queues) = (tier, hook, queues);
                assert_eq!(
                    plan(Some(&desired), &satisfied(&desired), &name()),
                    Ok(vec![]),
                    "{tier} {hook} {queues}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn a_tap_that_is_up_is_guarded_after_every_step(
        mut observed in any_observed(),
        // Agents that come, take some steps and die, each with its own wish.
        lives in prop::collection::vec((any::<bool>(), 0..14usize, any::<bool>()), 1..5),
    ) {
        if let ObservedTap::Ours(tap) = &mut observed.tap {
            tap.up &= matches!(observed.from_vm, ObservedProgram::Attached { .. }) && observed.entry.is_some();
        }
        for (wanted, steps, xdp) in lives {
            let mut desired = desired();
            if xdp { desired.tier = Tier::Xdp; }
            for step in plan(wanted.then_some(&desired), &observed, &name()).unwrap().iter().take(steps) {
                apply(&mut observed, step);
                prop_assert!(is_guarded(&observed), "{} leaves {:?}", step, observed);
            }
        }
    }

    #[test]
    fn what_goes_goes_in_the_reverse_order_and_nothing_comes(observed in any_observed()) {
        let steps = plan(None, &observed, &name()).unwrap();
        let order: Option<Vec<u8>> = steps.iter().map(order_of_going).collect();
        let order = order.expect("a step that only removes");
        prop_assert!(order.is_sorted(), "{}", text(&steps));
    }

    #[test]
    fn nothing_that_is_not_ours_is_named(
        mut observed in any_observed(),
        wanted in any::<bool>(),
        clsact in any::<bool>(),
        foreign_tap in any::<bool>(),
    ) {
        observed.clsact = Clsact::Shared;
        if foreign_tap {
            observed.tap = ObservedTap::Foreign("a dummy".to_owned());
            // Our programs are on taps of ours alone.
            (observed.from_vm, observed.xdp_from_vm) = (ObservedProgram::Severed, ObservedProgram::Absent);
        }
        let mut desired = desired();
        if clsact { desired.hook = Hook::Clsact; }
        let steps = match plan(wanted.then_some(&desired), &observed, &name()) {
            Ok(steps) => steps,
            Err(refusal) => {
                prop_assert!(wanted && foreign_tap, "{}", refusal);
                return Ok(());
            }
        };
        prop_assert!(!(wanted && foreign_tap), "a foreign tap was planned with");
        for step in &steps {
            let of_tap = matches!(step, Step::CreateTap { .. } | Step::SetTapMtu(_) | Step::SetTapNoqueue
                | Step::SetTapUp | Step::DeleteTap { .. });
            prop_assert!(!(foreign_tap && of_tap), "{}", step);
            prop_assert!(!matches!(step, Step::AddClsact | Step::RemoveClsact), "{}", step);
        }
    }

    #[test]
    fn the_same_sight_gets_the_same_plan(observed in any_observed(), wanted in any::<bool>()) {
        let desired = desired();
        let printed = || text(&plan(wanted.then_some(&desired), &observed.clone(), &name()).unwrap());
        prop_assert_eq!(printed(), printed());
    }

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
