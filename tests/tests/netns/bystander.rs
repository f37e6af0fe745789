// SPDX-License-Identifier: MIT OR Apache-2.0
//! Others' programs on our hooks: those before ours go on seeing every packet, and all of them survive us.

use netagent_tests::{
    agent::Agent,
    counting::{Counting, Position},
    poll,
    process::run_ok,
    stand_in::StandIn,
    topology::{GATEWAY4, POD_LINK, POD4, Pod},
};

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, configure, ping, wait_ping},
    snapshot::Snapshot,
    traces,
};

/// Pings that [`ping`] sends.
const PINGS: u64 = 5;

/// What each has seen while the node and the guest pinged each other.
fn seen_during_pings(scene: &Scene, guest: &StandIn, programs: &[&Counting]) -> Vec<u64> {
    let counts = || -> Vec<u64> { programs.iter().map(|program| program.count().unwrap()).collect() };
    let before = counts();
    ping(scene.node(), &POD4.to_string()).unwrap();
    ping(&guest.guest, &GATEWAY4.to_string()).unwrap();
    counts().iter().zip(before).map(|(now, then)| now - then).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn tcx_programs_before_and_behind_ours_stay_and_count() {
    require_netns!();
    let scene = Scene::new().unwrap();
    // One is there before the port is, and goes on where it was.
    let early = Counting::load().unwrap().attach(scene.pod(), POD_LINK, Position::Last).unwrap();
    let before = Snapshot::take(scene.pod()).unwrap();
    scene.attach(&[]).unwrap();
    let on = |link, position| Counting::load().unwrap().attach(scene.pod(), link, position).unwrap();
    let (pod_behind, tap_first, tap_behind) =
        (on(POD_LINK, Position::Last), on(TAP, Position::First), on(TAP, Position::Last));
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    let seen = seen_during_pings(&scene, &guest, &[&early, &tap_first, &pod_behind, &tap_behind]);
    assert!(seen[0] >= 2 * PINGS && seen[1] >= 2 * PINGS, "{seen:?}");
    // Ours hands every packet to the guest or to the node, or drops it: nothing is left for those behind.
    assert_eq!(seen[2..], [0, 0]);
    assert_eq!(scene.plan(&["--tap", TAP]).unwrap(), Vec::<String>::new());

    drop(guest);
    drop(pod_behind);
    scene.detach().unwrap();
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    let then = early.count().unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
    assert!(early.count().unwrap() > then, "the program that was there first does not count any more");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_guard_goes_before_what_is_on_the_tap_already() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    let other = Counting::load().unwrap().attach(scene.pod(), TAP, Position::Last).unwrap();
    let pins = traces::port_pins(&scene.agent).unwrap();
    let pin = pins.iter().find(|pin| pin.ends_with("from_vm")).unwrap();
    scene.pod().exec_ok(&["bpftool", "link", "detach", "pinned", pin]).unwrap();
    poll::wait_until("the guard to come back", SOON, || {
        scene.agent.log().contains("port is as desired again").then_some(())
    })
    .unwrap();
    assert_eq!(seen_during_pings(&scene, &guest, &[&other]), [0]);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn filters_with_lower_and_higher_priority_stay_and_count() {
    require_netns!();
    let scene = Scene::with(Pod::default(), Agent::builder().arg("--without").arg("tcx")).unwrap();
    let (first, behind) = (Counting::load().unwrap(), Counting::load().unwrap());
    let tc = |arguments: &str| {
        let mut command = scene.pod().command("tc");
        run_ok(command.args(arguments.split(' ')), SOON).unwrap();
    };
    tc(&format!("qdisc add dev {POD_LINK} clsact"));
    for (program, name, priority) in [(&first, "first", 1), (&behind, "behind", 60000)] {
        let pin = scene.agent.bpffs().path().join(name);
        program.pin(&pin).unwrap();
        let pin = pin.to_str().unwrap();
        tc(&format!("filter add dev {POD_LINK} ingress prio {priority} bpf da object-pinned {pin}"));
    }
    let before = Snapshot::take(scene.pod()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    let seen = seen_during_pings(&scene, &guest, &[&first, &behind]);
    assert!(seen[0] >= 2 * PINGS && seen[1] == 0, "{seen:?}");

    drop(guest);
    scene.detach().unwrap();
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    let then = (first.count().unwrap(), behind.count().unwrap());
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
    assert!(first.count().unwrap() > then.0 && behind.count().unwrap() > then.1);
}
