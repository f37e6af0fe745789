// SPDX-License-Identifier: MIT OR Apache-2.0
//! Detach leaves the pod as it was found and the agent as it was before; cleanup does so for all ports.

use std::{fs, process::Command};

use netagent_tests::{
    agent::Agent,
    attached,
    lease::DhcpClient,
    poll,
    process::{run, run_ok},
    stand_in::StandIn,
    topology::{HOST_LINK, POD_LINK, POD4, Pod},
};

use crate::{
    require_netns,
    scene::{self, SOON, Scene, TAP, configure, ping, try_attach},
    snapshot::Snapshot,
    traces::{self, Held},
};

const HOOKS: [&[&str]; 2] = [&[], &["--without", "tcx"]];

fn scene_with(flags: &[&str]) -> Scene {
    let builder = flags.iter().fold(Agent::builder(), |builder, flag| builder.arg(*flag));
    Scene::with(Pod::default(), builder).unwrap()
}

fn assert_unchanged(scene: &Scene, before: &Snapshot) {
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn detach_leaves_pod_and_agent_as_they_were() {
    require_netns!();
    for flags in HOOKS {
        let scene = scene_with(flags);
        let pod = Snapshot::take(scene.pod()).unwrap();
        let held = Held::by(&scene.agent).unwrap();
        for round in 0..3 {
            let port = scene.attach(&[]).unwrap();
            let guest: Option<StandIn> = (round == 0).then(|| scene.guest().unwrap());
            if let Some(guest) = &guest {
                configure(guest).unwrap();
                ping(scene.node(), &POD4.to_string()).unwrap();
                assert!(!traces::of_ports(&scene.agent).unwrap().is_empty());
            }
            // In the first round with the guest still on its tap, as a VMM that is slow to go.
            assert_eq!(scene.detach().unwrap(), [port["id"].as_str().unwrap()]);
            drop(guest);
            assert_unchanged(&scene, &pod);
            assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
            assert_eq!(scene.agent.json(&["status"]).unwrap(), serde_json::json!([]));
        }
        held.wait_back(&scene.agent).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_next_port_of_a_slot_starts_to_count_from_nothing() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    ping(scene.node(), &POD4.to_string()).unwrap();
    assert!(scene::number(&scene.show().unwrap(), "/counters/from_vm/packets").unwrap() > 3);
    scene.detach().unwrap();
    drop(guest);
    let port = scene.attach(&[]).unwrap();
    // The self-test's questions, and nothing of the guest's.
    assert!(scene::number(&port, "/counters/from_vm/packets").unwrap() <= 3, "{port}");
    let mut messages = port["dhcp"]["messages"].as_object().unwrap().clone();
    // Goes out unasked, and may have before the answer to the attach was written.
    messages.remove("advertisement");
    assert!(messages.is_empty(), "{port}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn detach_of_what_is_gone_is_success() {
    require_netns!();
    let scene = Scene::new().unwrap();
    assert_eq!(scene.detach().unwrap(), Vec::<String>::new());
    let port = scene.attach(&[]).unwrap();
    let id = port["id"].as_str().unwrap();
    assert_eq!(scene.agent.json(&["detach", id]).unwrap()["detached"], serde_json::json!([id]));
    for again in [vec!["detach", id], vec!["detach", "--netns", "/run/netns/natest-not-there"]] {
        let done = scene.agent.cli(&again).unwrap();
        assert_eq!((done.code, done.stdout.trim()), (0, "nothing to detach"), "{done:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn detach_goes_on_when_parts_are_gone_already() {
    require_netns!();
    for flags in HOOKS {
        let scene = scene_with(flags);
        let pod = Snapshot::take(scene.pod()).unwrap();
        // The tap alone; the programs alone; both.
        for (tap, programs) in [(true, false), (false, true), (true, true)] {
            scene.attach(&[]).unwrap();
            if tap {
                scene.pod().ip(&format!("link del {TAP}")).unwrap();
            }
            if programs {
                scene.agent.while_stopped(|| remove_programs(&scene)).unwrap();
            }
            scene.detach().unwrap();
            assert_unchanged(&scene, &pod);
            assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
        }
    }
}

fn remove_programs(scene: &Scene) {
    for pin in traces::port_pins(&scene.agent).unwrap() {
        if fs::metadata(&pin).unwrap().is_file() {
            fs::remove_file(&pin).unwrap();
        }
    }
    for link in [TAP, POD_LINK] {
        let filtered = |one: &attached::Attached| one.link == link && one.hook.starts_with("clsact");
        if attached::programs(scene.pod()).unwrap().iter().any(filtered) {
            scene.pod().exec_ok(&["tc", "qdisc", "del", "dev", link, "clsact"]).unwrap();
        }
    }
    assert_eq!(attached::programs(scene.pod()).unwrap(), []);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_link_that_went_does_not_hold_detach_up() {
    require_netns!();
    for flags in HOOKS {
        let scene = scene_with(flags);
        scene.attach(&[]).unwrap();
        scene.pod().ip(&format!("link del {POD_LINK}")).unwrap();
        let gone = Snapshot::take(scene.pod()).unwrap();
        assert!(gone.part("links").unwrap().to_string().contains(TAP));
        assert_eq!(scene.detach().unwrap().len(), 1);
        let links = scene.pod().ip_json("link show").unwrap();
        assert_eq!(links.as_array().map(Vec::len), Some(1), "{links}");
        assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn cleanup_takes_off_everything_and_only_when_no_agent_runs() {
    require_netns!();
    for flags in HOOKS {
        let mut scene = scene_with(flags);
        let second = Pod::default().build().unwrap();
        let pods = [Snapshot::take(scene.pod()).unwrap(), Snapshot::take(&second.pod).unwrap()];
        let one = scene.attach(&[]).unwrap();
        let two = scene::attach(&scene.agent, &second, &["--queues", "2"]).unwrap();

        let bpffs = scene.agent.bpffs().path().to_str().unwrap().to_owned();
        let cleanup = |scene: &Scene| scene.agent.cli(&["cleanup", "--bpffs", &bpffs, "-o", "json"]).unwrap();
        let refused = cleanup(&scene);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("another agent answers on"), "{}", refused.stderr);
        // By another socket's name it is still that agent's BPF filesystem.
        let mut elsewhere = Command::new(scene.agent.binary());
        let other = scene.agent.dir().join("other/agent.sock");
        elsewhere.arg("cleanup").arg("--socket").arg(&other).args(["--bpffs", &bpffs]);
        let refused = run(&mut elsewhere, SOON).unwrap();
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("another netagent uses"), "{}", refused.stderr);
        assert!(!other.exists());
        assert_eq!(scene.show().unwrap()["state"], "ready");
        assert_eq!(scene.agent.json(&["status"]).unwrap().as_array().map(Vec::len), Some(2));

        scene.agent.kill9().unwrap();
        let done = cleanup(&scene);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let detached: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        for port in [&one, &two] {
            assert!(detached["detached"].as_array().unwrap().contains(&port["id"]), "{detached}");
        }
        assert_unchanged(&scene, &pods[0]);
        assert_eq!(pods[1].changes(&Snapshot::take(&second.pod).unwrap()), Vec::<String>::new());
        // Not even the shared maps are left.
        assert_eq!(scene.agent.bpffs().pins().unwrap(), Vec::<std::path::PathBuf>::new());
        assert_eq!(scene.state_files().unwrap(), Vec::<std::path::PathBuf>::new());
        // A second one finds nothing, and says so.
        let again = scene.agent.cli(&["cleanup", "--bpffs", &bpffs]).unwrap();
        assert_eq!((again.code, again.stdout.trim()), (0, "nothing to detach"), "{again:?}");
        // And an agent can start anew.
        scene.agent.start().unwrap();
        assert_eq!(scene.agent.json(&["status"]).unwrap(), serde_json::json!([]));
        assert_eq!(try_attach(&scene.agent, &second, &[]).unwrap().code, 0);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_port_without_its_state_file_goes_on_until_it_is_asked_for_or_gone() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    let programs = attached::programs(scene.pod()).unwrap();
    let lose_state = |scene: &mut Scene| {
        scene.agent.kill9().unwrap();
        for file in scene.state_files().unwrap() {
            fs::remove_file(file).unwrap();
        }
    };
    lose_state(&mut scene);
    scene.agent.start().unwrap();
    assert_eq!(scene.agent.json(&["status"]).unwrap(), serde_json::json!([]));
    assert!(scene.agent.log().contains("a port forwards that nobody asked for"), "{}", scene.agent.log());
    // Its programs stay on the tap: without them the guest could send past the guard.
    assert_eq!(attached::programs(scene.pod()).unwrap(), programs);
    ping(scene.node(), &POD4.to_string()).unwrap();

    // An ask for it that is refused does not give its slot away: the programs go on reading it.
    assert_eq!(scene.try_attach(&["--queues", "4"]).unwrap().code, 1);
    let second = Pod::default().build().unwrap();
    let plan = scene.agent.json(&["plan", "--netns", scene::path(&second.pod).unwrap()]).unwrap();
    assert!(plan["steps"].to_string().contains("write entry 1:"), "{plan}");

    // The tap carries the port's name: an ask for the port takes it up again, counters included.
    let port = scene.attach(&[]).unwrap();
    assert!(scene::number(&port, "/counters/from_vm/packets").unwrap() > 0, "{port}");
    assert_eq!(attached::programs(scene.pod()).unwrap(), programs);
    scene::lease(&guest, DhcpClient::Udhcpc).unwrap();
    drop(guest);

    // With the namespace gone nothing holds its traces any more.
    lose_state(&mut scene);
    assert!(!traces::of_ports(&scene.agent).unwrap().is_empty());
    run_ok(Command::new("ip").args(["netns", "del", scene.pod().name()]), SOON).unwrap();
    poll::try_until("the namespace to die", SOON, || {
        let links = scene.node().ip_json("link show")?.to_string();
        Ok((!links.contains(HOST_LINK)).then_some(()))
    })
    .unwrap();
    scene.agent.start().unwrap();
    traces::wait_none(&scene.agent).unwrap();
}

/// Without its ask a port's namespace cannot be found. Taking `from_vm` off its tap would let the guest send past it.
#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn cleanup_leaves_a_port_whole_whose_namespace_it_cannot_find() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    let before = Snapshot::take(scene.pod()).unwrap();
    let port = scene.attach(&[]).unwrap();
    let programs = attached::programs(scene.pod()).unwrap();
    scene.agent.kill9().unwrap();
    for file in scene.state_files().unwrap() {
        fs::remove_file(file).unwrap();
    }
    let bpffs = scene.agent.bpffs().path().to_str().unwrap().to_owned();
    let done = scene.agent.cli(&["cleanup", "--bpffs", &bpffs]).unwrap();
    assert_eq!(attached::programs(scene.pod()).unwrap(), programs, "{done:?}");
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(port["id"].as_str().unwrap()), "{done:?}");
    assert!(done.stderr.contains("attach it again"), "{done:?}");

    // What the message says helps.
    scene.agent.start().unwrap();
    scene.attach(&[]).unwrap();
    scene.agent.kill9().unwrap();
    let done = scene.agent.cli(&["cleanup", "--bpffs", &bpffs]).unwrap();
    assert_eq!(done.code, 0, "{done:?}");
    assert_unchanged(&scene, &before);
    assert_eq!(scene.agent.bpffs().pins().unwrap(), Vec::<std::path::PathBuf>::new());
}
