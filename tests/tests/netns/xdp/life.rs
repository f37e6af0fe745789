// SPDX-License-Identifier: MIT OR Apache-2.0
//! A port of tier `xdp` over time: kills, changes of the tier, devices made anew, the end.

use netagent_tests::{
    attached, ethtool,
    flood::{Echo, Flood},
    poll,
    topology::{HOST_LINK, POD_LINK, POD4},
};

use super::{plain_guest, scene};
use crate::{
    require_netns,
    scene::{SOON, TAP, configure, ping_both_ways, wait_ping},
    snapshot::Snapshot,
};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_killed_agent_s_port_goes_on_and_is_adopted() {
    require_netns!();
    let mut scene = scene();
    let port = scene.attach(&["--tier", "xdp"]).unwrap();
    let guest = plain_guest(&scene, &port);
    configure(&guest).unwrap();
    let target = (POD4, 7000).into();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
    let echo = Echo::start(&guest.guest, target).unwrap();
    let flood = Flood::start(scene.node(), target, 500).unwrap();
    let more = |what: &str| {
        let goal = flood.so_far().1 + 250;
        poll::wait_until(what, SOON, || (flood.so_far().1 >= goal).then_some(())).unwrap();
    };
    more("traffic before");
    let programs = attached::programs(scene.pod()).unwrap();
    assert_eq!(programs.len(), 5, "{programs:?}");
    scene.agent.kill9().unwrap();
    more("traffic without an agent");
    scene.agent.start().unwrap();
    scene.wait_port("the port to be adopted", |port| port["state"] == "ready").unwrap();
    more("traffic after the restart");
    assert_eq!(attached::programs(scene.pod()).unwrap(), programs);
    assert_eq!(scene.plan(&["--tier", "xdp"]).unwrap(), Vec::<String>::new());
    let counted = flood.stop().unwrap();
    assert_eq!((counted.lost, counted.duplicated), (0, 0), "{counted:?}");
    assert_eq!(echo.arrived(), counted.sent);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_live_port_changes_its_tier_under_guard() {
    require_netns!();
    let scene = scene();
    let port = scene.attach(&["--tier", "peer"]).unwrap();
    let guest = plain_guest(&scene, &port);
    configure(&guest).unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
    let target = (POD4, 7000).into();
    let _echo = Echo::start(&guest.guest, target).unwrap();
    let flood = Flood::start(scene.node(), target, 500).unwrap();
    let hooks = || -> Vec<_> {
        let programs = attached::programs(scene.pod()).unwrap();
        programs.into_iter().map(|one| (one.link, one.hook, one.program)).collect()
    };
    let tc = hooks();
    for tier in ["xdp", "plain", "xdp", "peer"] {
        let port = scene.attach(&["--tier", tier]).unwrap();
        assert_eq!(port["datapath"]["tier"], tier);
        // The tc programs are there throughout, so there is no moment without a guard.
        assert!(tc.iter().all(|one| hooks().contains(one)), "tier {tier}: {:?}", hooks());
        assert_eq!(hooks().len(), if tier == "xdp" { 5 } else { 3 });
        let goal = flood.so_far().1 + 250;
        poll::wait_until("traffic in the new tier", SOON, || (flood.so_far().1 >= goal).then_some(()))
            .unwrap();
    }
    let counted = flood.stop().unwrap();
    assert_eq!((counted.duplicated, counted.refused), (0, 0), "{counted:?}");
    // What waits in the veth's ring while its XDP hook goes is lost: a few frames, not a gap.
    assert!(counted.lost < 50, "{counted:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_tap_made_anew_is_sent_to_again() {
    require_netns!();
    let scene = scene();
    scene.attach(&["--tier", "xdp"]).unwrap();
    scene.pod().ip(&format!("link del {TAP}")).unwrap();
    let port = scene.attach(&["--tier", "xdp"]).unwrap();
    let guest = plain_guest(&scene, &port);
    configure(&guest).unwrap();
    ping_both_ways(scene.node(), &guest.guest).unwrap();
    assert_eq!(scene.plan(&["--tier", "xdp"]).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn detach_leaves_the_devices_as_they_were() {
    require_netns!();
    let scene = scene();
    let features = || {
        (ethtool::active(scene.node(), HOST_LINK).unwrap(), ethtool::active(scene.pod(), POD_LINK).unwrap())
    };
    let (before, pod, node) =
        (features(), Snapshot::take(scene.pod()).unwrap(), Snapshot::take(scene.node()).unwrap());
    scene.attach(&["--tier", "xdp"]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    drop(guest);
    scene.detach().unwrap();
    assert_eq!(features(), before);
    assert_eq!(pod.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    let changes = node.changes(&Snapshot::take(scene.node()).unwrap());
    assert!(changes.iter().all(|change| change.contains("neigh")), "{changes:?}");
    assert_eq!(attached::programs(scene.pod()).unwrap(), []);
}
