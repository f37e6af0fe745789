// SPDX-License-Identifier: MIT OR Apache-2.0
//! `plan` against a model kernel: golden texts here, and [`properties`] of every state that it can meet.

use super::*;
use crate::core::{desired::tests::desired, observed::Targets, spec::tests::spec, tier::Tier};

mod bridged;
mod properties;

/// What applying a step does to a kernel, as far as `observe` can see; a step that the kernel would refuse panics.
fn apply(observed: &mut Observed, step: &Step) {
    let attached = |hook| ObservedProgram::Attached { hook, current: true };
    match step {
        Step::CreateTap { tap, mtu } => {
            assert_eq!(observed.tap, ObservedTap::Absent);
            observed.tap = ObservedTap::Ours(Tap {
                ifindex: 42,
                mtu: *mtu,
                multi_queue: tap.queues > 1,
                uid: tap.uid,
                gid: tap.gid,
                noqueue: true,
                up: false,
            });
        }
        Step::SetTapMtu(mtu) => own(observed).mtu = *mtu,
        Step::SetTapNoqueue => own(observed).noqueue = true,
        Step::SetTapUp => own(observed).up = true,
        Step::ProvePath { slot, .. } => {
            assert!(own(observed).up, "a tap that is down answers nothing");
            let (of, entry) = observed.entry.as_mut().expect("an entry to note the outcome in");
            assert_eq!(of, slot);
            entry.flags |= SelfTest::Proved(Tier::Peer).to_flags();
        }
        Step::WriteEntry { slot, entry } => {
            let mut entry = **entry;
            if entry.tap_ifindex == 0 {
                entry.tap_ifindex = own(observed).ifindex;
            }
            observed.entry = Some((*slot, entry));
        }
        Step::AddClsact => observed.clsact = Clsact::Ours,
        Step::SetTarget { target, .. } => match target {
            Target::PodLink => observed.targets.pod_link = Some(desired().pod_link.ifindex),
            Target::Tap => observed.targets.tap = Some(own(observed).ifindex),
        },
        Step::ClearTarget { target, .. } => match target {
            Target::PodLink => observed.targets.pod_link = None,
            Target::Tap => observed.targets.tap = None,
        },
        Step::RemoveSeveredPin(program) => *state(observed, *program) = ObservedProgram::Absent,
        Step::Attach { program, hook, .. } => {
            assert!(observed.entry.is_some(), "a program without settings drops everything");
            assert_eq!(*state(observed, *program), ObservedProgram::Absent);
            match program {
                Program::FromVm => assert!(
                    matches!(observed.tap, ObservedTap::Ours(_) | ObservedTap::Bridged(_)),
                    "from_vm on {:?}",
                    observed.tap
                ),
                Program::XdpFromVm | Program::XdpToVm => {
                    assert_eq!(*hook, Hook::Xdp);
                    assert!(observed.targets.pod_link.is_some() && observed.targets.tap.is_some());
                    let behind = if program.is_on_tap() { observed.from_vm } else { observed.to_vm };
                    assert!(
                        matches!(behind, ObservedProgram::Attached { .. }),
                        "what XDP passes on goes nowhere"
                    );
                }
                Program::FromPod | Program::ToVm if *hook == Hook::Clsact => {
                    assert!(matches!(observed.clsact, Clsact::Ours | Clsact::Shared));
                }
                Program::FromPod | Program::ToVm => {}
            }
            *state(observed, *program) = attached(*hook);
        }
        Step::Replace { program, hook, .. } => {
            assert!(matches!(state(observed, *program), ObservedProgram::Attached { .. }));
            *state(observed, *program) = attached(*hook);
        }
        Step::Serve { guest, .. } => observed.serving = Some((**guest).clone()),
        Step::StopServing(_) => observed.serving = None,
        Step::DeleteTap { ifindex, .. } => {
            assert_eq!(own(observed).ifindex, *ifindex);
            observed.tap = ObservedTap::Absent;
            observed.from_vm = match observed.from_vm {
                ObservedProgram::Attached { hook: Hook::Tcx, .. } => ObservedProgram::Severed,
                ObservedProgram::Attached { hook: Hook::Clsact, .. } => ObservedProgram::Absent,
                other => other,
            };
            if let ObservedProgram::Attached { .. } = observed.xdp_from_vm {
                observed.xdp_from_vm = ObservedProgram::Severed;
            }
            observed.targets.tap = None;
        }
        Step::Detach { program, .. } => *state(observed, *program) = ObservedProgram::Absent,
        Step::RemoveClsact => observed.clsact = Clsact::Absent,
        Step::EraseEntry(_) => observed.entry = None,
    }
    let unfiltered = !matches!(observed.from_vm, ObservedProgram::Attached { .. });
    if let (ObservedTap::Ours(tap), true) = (&observed.tap, unfiltered) {
        assert!(!tap.up || *step != Step::SetTapUp, "the tap came up without its program");
    }
}

fn state(observed: &mut Observed, program: Program) -> &mut ObservedProgram {
    match program {
        Program::FromVm => &mut observed.from_vm,
        Program::FromPod => &mut observed.from_pod,
        Program::ToVm => &mut observed.to_vm,
        Program::XdpFromVm => &mut observed.xdp_from_vm,
        Program::XdpToVm => &mut observed.xdp_to_vm,
    }
}

fn is_empty(observed: &Observed) -> bool {
    observed.tap == ObservedTap::Absent
        && observed.entry.is_none()
        && Program::ALL.iter().all(|program| observed.program(*program) == ObservedProgram::Absent)
        && observed.targets == Targets::default()
        && observed.serving.is_none()
}

fn own(observed: &mut Observed) -> &mut Tap {
    match &mut observed.tap {
        ObservedTap::Ours(tap) => tap,
        other => panic!("a step needs our tap, found {other:?}"),
    }
}

fn nothing() -> Observed {
    Observed { slot: Some(3), ..Observed::default() }
}

fn name() -> IfName {
    desired().tap.name
}

fn text(steps: &[Step]) -> String {
    steps.iter().map(|s| format!("{s}\n")).collect()
}

#[test]
fn a_new_port_comes_up_last() {
    let steps = plan(Some(&desired()), &nothing(), &name()).unwrap();
    assert_eq!(
        text(&steps),
        "create tap tap0 down: queues 1, owner 107:107, mtu 1450, noqueue\n\
         write entry 3: tier peer, guest 0a:58:0a:f4:00:09, pod link 0a:58:0a:f4:00:09, mtu 1450, 10.244.0.9, fd00::9\n\
         attach from_vm for slot 3 to tap ingress by tcx\n\
         attach from_pod for slot 3 to pod link egress by tcx\n\
         attach to_vm for slot 3 to pod link ingress by tcx\n\
         serve 0a:58:0a:f4:00:09 in slot 3: 10.244.0.9/24, fd00::9/64\n\
         set the tap up\n\
         prove the path of slot 3: ask 10.244.0.1 as the guest would\n"
    );
}

#[test]
fn a_path_is_proved_once_until_a_device_of_it_is_another_one() {
    let mut observed = nothing();
    for step in plan(Some(&desired()), &observed, &name()).unwrap() {
        apply(&mut observed, &step);
    }
    assert_eq!(plan(Some(&desired()), &observed, &name()).unwrap(), []);
    let proves = |desired: &DesiredPort, observed: &Observed| {
        let steps = plan(Some(desired), observed, &name()).unwrap();
        steps.iter().any(|step| matches!(step, Step::ProvePath { .. }))
    };
    let mut other_tap = observed.clone();
    own(&mut other_tap).ifindex = 43;
    assert!(proves(&desired(), &other_tap));
    let mut other_link = desired();
    other_link.pod_link.ifindex = 9;
    assert!(proves(&other_link, &observed));
    let mut alone = desired();
    alone.guest.routes.clear();
    assert!(!proves(&alone, &nothing()), "there is nobody to ask");
}

#[test]
fn a_peer_that_failed_stays_plain() {
    let mut observed = nothing();
    for step in plan(Some(&desired()), &observed, &name()).unwrap() {
        apply(&mut observed, &step);
    }
    let (_, entry) = observed.entry.as_mut().unwrap();
    // As the step leaves it: the tier that answered, and why the other is not taken.
    entry.flags = entry.flags & !maps::PEER | SelfTest::PeerFailed.to_flags();
    let port = desired().heed(spec().tier, observed.self_test(desired().pod_link.ifindex)).unwrap();
    assert_eq!(plan(Some(&port), &observed, &name()).unwrap(), []);
    // A crash between its questions leaves plain without an outcome: it begins anew.
    let (_, entry) = observed.entry.as_mut().unwrap();
    entry.flags &= !maps::SELF_TEST;
    let again = text(&plan(Some(&desired()), &observed, &name()).unwrap());
    assert!(again.starts_with("write entry 3: tier peer") && again.contains("prove the path"), "{again}");
}

#[test]
fn a_port_that_goes_takes_its_tap_first() {
    let mut observed = nothing();
    let mut port = desired();
    port.hook = Hook::Clsact;
    for step in plan(Some(&port), &observed, &name()).unwrap() {
        apply(&mut observed, &step);
    }
    assert_eq!(
        text(&plan(None, &observed, &name()).unwrap()),
        "stop serving slot 3\n\
         delete tap tap0\n\
         detach to_vm from pod link ingress by clsact\n\
         detach from_pod from pod link egress by clsact\n\
         remove the clsact qdisc of the pod link\n\
         erase entry 3\n"
    );
}

#[test]
fn a_clsact_with_others_filters_stays() {
    let mut observed = nothing();
    observed.clsact = Clsact::Shared;
    let mut port = desired();
    port.hook = Hook::Clsact;
    for step in plan(Some(&port), &observed, &name()).unwrap() {
        assert_ne!(step, Step::AddClsact);
        apply(&mut observed, &step);
    }
    assert!(!plan(None, &observed, &name()).unwrap().contains(&Step::RemoveClsact));
}

#[test]
fn an_ingress_qdisc_leaves_no_place_for_the_egress_guard() {
    let mut observed = nothing();
    observed.clsact = Clsact::IngressOnly;
    let mut port = desired();
    assert!(plan(Some(&port), &observed, &name()).is_ok(), "tcx needs no qdisc");
    port.hook = Hook::Clsact;
    let refusal = plan(Some(&port), &observed, &name()).unwrap_err().to_string();
    assert!(refusal.contains("pod link eth0 has an ingress qdisc"), "{refusal}");
}

#[test]
fn a_foreign_tap_is_refused_and_never_deleted() {
    let mut observed = nothing();
    observed.tap = ObservedTap::Foreign("a dummy".into());
    let refusal = plan(Some(&desired()), &observed, &name()).unwrap_err().to_string();
    assert!(refusal.contains("tap0 exists") && refusal.contains("a dummy"), "{refusal}");
    assert_eq!(plan(None, &observed, &name()).unwrap(), []);
}

#[test]
fn a_tap_with_other_flags_is_refused() {
    let mut observed = nothing();
    for step in plan(Some(&desired()), &observed, &name()).unwrap() {
        apply(&mut observed, &step);
    }
    let mut port = desired();
    port.tap.queues = 4;
    let refusal = plan(Some(&port), &observed, &name()).unwrap_err().to_string();
    assert_eq!(refusal, "tap tap0 has one queue, and several queues was asked for; detach the port first");
}

#[test]
fn another_version_s_programs_are_replaced_in_place() {
    let mut observed = nothing();
    for step in plan(Some(&desired()), &observed, &name()).unwrap() {
        apply(&mut observed, &step);
    }
    observed.from_vm = ObservedProgram::Attached { hook: Hook::Clsact, current: false };
    assert_eq!(
        text(&plan(Some(&desired()), &observed, &name()).unwrap()),
        "replace from_vm for slot 3 on tap ingress by clsact\n"
    );
}

#[test]
fn tier_xdp_comes_in_front_of_the_tc_programs_and_goes_by_itself() {
    let mut observed = nothing();
    for step in plan(Some(&desired()), &observed, &name()).unwrap() {
        apply(&mut observed, &step);
    }
    let mut port = desired();
    port.tier = Tier::Xdp;
    let steps = plan(Some(&port), &observed, &name()).unwrap();
    assert_eq!(
        text(&steps[1..]),
        "send by xdp from slot 3 to the pod link\n\
         send by xdp from slot 3 to the tap\n\
         attach xdp_from_vm for slot 3 to tap ingress by xdp\n\
         attach xdp_to_vm for slot 3 to pod link ingress by xdp\n"
    );
    for step in steps {
        apply(&mut observed, &step);
    }
    assert_eq!(plan(Some(&port), &observed, &name()).unwrap(), []);
    assert_eq!(
        text(&plan(Some(&desired()), &observed, &name()).unwrap()[1..]),
        "detach xdp_from_vm from tap ingress by xdp\n\
         detach xdp_to_vm from pod link ingress by xdp\n\
         send no more by xdp from slot 3 to the pod link\n\
         send no more by xdp from slot 3 to the tap\n"
    );
}
