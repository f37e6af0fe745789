// SPDX-License-Identifier: MIT OR Apache-2.0
//! A new path proves itself before its port is ready: by the gateway's answer, and with `plain` where `peer` fails.

use netagent_tests::{
    agent::Agent,
    bpf_stub::{AttachedStub, Stub},
    tap::{Tap, TapSpec},
    topology::{HOST_LINK, POD4, Pod},
};
use serde_json::Value;

use crate::{
    require_netns,
    scene::{Scene, TAP, lease, number, wait_ping},
    snapshot::Snapshot,
    traces,
};

const PROVED: &str = "proved: 10.88.0.1 answered";
const FAILED: &str = "peer failed its self-test: 10.88.0.1 answered through plain, and not through peer";

fn reason(port: &Value) -> &str {
    port["datapath"]["reason"].as_str().unwrap()
}

fn tier(port: &Value) -> &str {
    port["datapath"]["tier"].as_str().unwrap()
}

/// The node loses what comes through `peer`: generic XDP runs on that, and not on what `plain` sends.
fn lose_peers_frames(scene: &Scene) -> AttachedStub {
    Stub::GenericXdpDrop.attach(scene.node(), HOST_LINK).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_path_is_proved_once_and_the_next_agent_knows() {
    require_netns!();
    for (flags, without_tcx) in [
        (&["--tier", "peer"][..], false),
        (&["--tier", "plain"], false),
        (&["--queues", "4"], false),
        (&["--mac", "02:00:00:00:00:99"], false),
        (&["--tier", "peer"], true),
        (&["--tier", "plain"], true),
    ] {
        let builder = Agent::builder();
        let builder = if without_tcx { builder.arg("--without").arg("tcx") } else { builder };
        let mut scene = Scene::with(Pod::default(), builder).unwrap();
        let plan = scene.plan(flags).unwrap();
        assert_eq!(plan.last().unwrap(), "prove the path of slot 0: ask 10.88.0.1 as the guest would");
        let port = scene.attach(flags).unwrap();
        assert!(reason(&port).ends_with(PROVED), "{flags:?}: {}", reason(&port));
        let asked = number(&port, "/counters/from_vm/packets").unwrap();
        assert!((1..=3).contains(&asked), "{port}");
        assert_eq!(scene.plan(flags).unwrap(), Vec::<String>::new());
        assert_eq!(scene.attach(flags).unwrap()["datapath"], port["datapath"]);
        scene.agent.kill9().unwrap();
        scene.agent.start().unwrap();
        let adopted = scene.show().unwrap();
        assert_eq!(adopted["datapath"], port["datapath"]);
        assert_eq!(number(&adopted, "/counters/from_vm/packets").unwrap(), asked, "it was asked again");
        // A tap made anew is another path.
        scene.pod().ip(&format!("link del {TAP}")).unwrap();
        let again = scene.attach(flags).unwrap();
        assert!(reason(&again).ends_with(PROVED), "{}", reason(&again));
        assert!(number(&again, "/counters/from_vm/packets").unwrap() > asked, "{again}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn an_ipv6_gateway_proves_as_well() {
    require_netns!();
    for tier in ["peer", "plain"] {
        let scene = Scene::with(Pod { ipv4: false, ..Pod::default() }, Agent::builder()).unwrap();
        let port = scene.attach(&["--tier", tier]).unwrap();
        assert!(reason(&port).ends_with("; proved: fd00:88::1 answered"), "{}", reason(&port));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn peer_that_loses_frames_falls_back_to_plain_and_stays_there() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    let loss = lose_peers_frames(&scene);
    let port = scene.attach(&[]).unwrap();
    assert_eq!((tier(&port), reason(&port)), ("plain", FAILED));
    scene.agent.kill9().unwrap();
    scene.agent.start().unwrap();
    assert_eq!(scene.show().unwrap()["datapath"], port["datapath"]);
    assert_eq!(scene.plan(&[]).unwrap(), Vec::<String>::new());

    let refused = scene.try_attach(&["--tier", "peer"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(FAILED) && refused.stderr.contains("--tier plain"), "{}", refused.stderr);
    let asked_for = scene.attach(&["--tier", "plain"]).unwrap();
    assert_eq!(reason(&asked_for), "asked for; proved: 10.88.0.1 answered");

    // Healed, it stays as it was proved until the port is made anew.
    drop(loss);
    assert_eq!((tier(&scene.attach(&[]).unwrap()), reason(&scene.attach(&[]).unwrap())), ("plain", FAILED));
    scene.detach().unwrap();
    let healed = scene.attach(&["--tier", "peer"]).unwrap();
    assert!(reason(&healed).ends_with(PROVED), "{}", reason(&healed));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn peer_by_name_that_fails_is_refused_and_leaves_nothing() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let loss = lose_peers_frames(&scene);
    let before = Snapshot::take(scene.pod()).unwrap();
    let refused = scene.try_attach(&["--tier", "peer"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(FAILED), "{}", refused.stderr);
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
    drop(loss);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_silent_gateway_or_none_leaves_the_choice_as_it_is() {
    require_netns!();
    let scene = Scene::new().unwrap();
    // Answers no ARP at all (Documentation/networking/ip-sysctl.rst).
    scene.node().sysctl(&format!("ipv4/conf/{HOST_LINK}/arp_ignore"), "8").unwrap();
    let port = scene.attach(&[]).unwrap();
    assert_eq!(tier(&port), "peer");
    assert!(reason(&port).ends_with("; unproved: 10.88.0.1 did not answer"), "{}", reason(&port));
    scene.node().sysctl(&format!("ipv4/conf/{HOST_LINK}/arp_ignore"), "0").unwrap();
    let guest = scene.guest().unwrap();
    lease(&guest, netagent_tests::lease::DhcpClient::Udhcpc).unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();

    let scene = Scene::with(Pod { ipv6: false, ..Pod::default() }, Agent::builder()).unwrap();
    scene.pod().ip("route del default").unwrap();
    let port = scene.attach(&[]).unwrap();
    assert_eq!(tier(&port), "peer");
    assert!(reason(&port).ends_with("; unproved: the pod has no gateway to ask"), "{}", reason(&port));
    assert_eq!(number(&port, "/counters/from_vm/packets").unwrap(), 0);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_tap_that_a_guest_has_open_is_not_disturbed() {
    require_netns!();
    for queues in ["1", "2"] {
        let scene = Scene::with(Pod { ipv6: false, ..Pod::default() }, Agent::builder()).unwrap();
        scene.pod().ip("route del default").unwrap();
        let flags = ["--queues", queues];
        scene.attach(&flags).unwrap();
        let spec = TapSpec { multi_queue: queues != "1", ..TapSpec::default() };
        let guest = Tap::open(scene.pod(), TAP, spec).unwrap();
        scene.pod().ip("route add default via 10.88.0.1 dev eth0").unwrap();
        let port = scene.attach(&flags).unwrap();
        assert!(reason(&port).ends_with("; unproved: the tap was in use already"), "{}", reason(&port));
        assert_eq!(number(&port, "/counters/from_vm/packets").unwrap(), 0);
        drop(guest);
    }
}
