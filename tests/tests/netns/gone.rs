// SPDX-License-Identifier: MIT OR Apache-2.0
//! A namespace that goes takes its port along: nothing holds it, nothing is left, and other ports do not notice.

use std::{fs, os::unix::fs::symlink, process::Command, time::Duration};

use netagent_tests::{
    agent::Agent,
    flood::{Echo, Flood},
    netns::Netns,
    poll,
    process::{Process, run, run_ok},
    topology::{HOST_LINK, POD4, Pod, Topology},
};

use crate::{
    require_netns,
    scene::{self, SOON, Scene, configure, wait_ping},
    snapshot::Snapshot,
    traces::{self, Held},
};

const RATE: u32 = 500;
const COMMAND: Duration = Duration::from_secs(30);

fn delete(netns: &Netns) {
    run_ok(Command::new("ip").args(["netns", "del", netns.name()]), COMMAND).unwrap();
}

/// The kernel destroys a veth's end, and with it the other one, only when nothing holds the namespace any more.
fn wait_dead(topology: &Topology) {
    poll::try_until("the namespace to die", SOON, || {
        let links = topology.node.ip_json("link show")?.to_string();
        Ok((!links.contains(HOST_LINK)).then_some(()))
    })
    .unwrap();
}

fn wait_only(agent: &Agent, topology: &Topology) {
    let kept = scene::show(agent, topology).unwrap();
    poll::try_until("the other port to be the only one", SOON, || {
        let all = agent.json(&["status"])?;
        let ids: Vec<_> = all.as_array().into_iter().flatten().map(|port| &port["id"]).collect();
        Ok((ids == [&kept["id"]]
            && scene::state_files(agent)?.len() == 1
            && traces::entries_in_use(agent)?.len() == 1)
            .then_some(()))
    })
    .unwrap();
    let id = kept["id"].as_str().unwrap();
    let pins = traces::port_pins(agent).unwrap();
    assert!(pins.iter().all(|pin| pin.contains(id)), "{pins:?}");
}

fn goes(without_tcx: bool, agent_is_down: bool) {
    let mut builder = Agent::builder();
    if without_tcx {
        builder = builder.arg("--without").arg("tcx");
    }
    let mut agent = builder.start().unwrap();
    let stays = Pod::default().build().unwrap();
    scene::attach(&agent, &stays, &[]).unwrap();
    let held = Held::by(&agent).unwrap();
    let guest = scene::guest(&agent, &stays).unwrap();
    configure(&guest).unwrap();
    wait_ping(&stays.node, &POD4.to_string()).unwrap();
    let _echo = Echo::start(&guest.guest, (POD4, 7000).into()).unwrap();
    let flood = Flood::start(&stays.node, (POD4, 7000).into(), RATE).unwrap();

    let dies = Pod::default().build().unwrap();
    scene::attach(&agent, &dies, &["--queues", "2"]).unwrap();
    assert_eq!(agent.json(&["status"]).unwrap().as_array().map(Vec::len), Some(2));
    // It looks into namespaces now and then, and lets go at once.
    poll::try_until("no namespace to be held open", SOON, || {
        let open = traces::descriptors(&agent)?;
        Ok((!open.iter().any(|fd| fd.contains("net:[") || fd.contains("/netns/"))).then_some(()))
    })
    .unwrap();

    if agent_is_down {
        agent.kill9().unwrap();
    }
    delete(&dies.pod);
    wait_dead(&dies);
    if agent_is_down {
        agent.start().unwrap();
    }
    wait_only(&agent, &stays);
    assert!(flood.so_far().1 > 0);
    let counted = flood.stop().unwrap();
    assert_eq!((counted.lost, counted.duplicated, counted.refused), (0, 0, 0), "{counted:?}");
    if !agent_is_down {
        held.wait_back(&agent).unwrap();
    }
    // Its slot is free again.
    let next = Pod::default().build().unwrap();
    scene::attach(&agent, &next, &[]).unwrap();
    assert_eq!(traces::entries_in_use(&agent).unwrap().len(), 2);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_deleted_namespace_takes_its_port_along_with_tcx() {
    require_netns!();
    goes(false, false);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_deleted_namespace_takes_its_port_along_with_clsact() {
    require_netns!();
    goes(true, false);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_namespace_deleted_while_no_agent_runs_is_cleaned_up_after_with_tcx() {
    require_netns!();
    goes(false, true);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_namespace_deleted_while_no_agent_runs_is_cleaned_up_after_with_clsact() {
    require_netns!();
    goes(true, true);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn detach_after_the_namespace_went_is_success() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let path = scene::path(scene.pod()).unwrap().to_owned();
    delete(scene.pod());
    let done = scene.agent.cli(&["detach", "--netns", &path]).unwrap();
    assert_eq!(done.code, 0, "{done:?}");
    traces::wait_none(&scene.agent).unwrap();
    wait_dead(&scene.topology);
}

/// A pod that comes back under the same name is another pod.
#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn another_namespace_at_the_same_path_is_not_touched() {
    require_netns!();
    for agent_is_down in [false, true] {
        let mut scene = Scene::new().unwrap();
        let old = scene.attach(&[]).unwrap();
        if agent_is_down {
            scene.agent.kill9().unwrap();
        }
        let name = scene.pod().name().to_owned();
        delete(scene.pod());
        run_ok(Command::new("ip").args(["netns", "add", &name]), COMMAND).unwrap();
        // What the port's plan names, made by somebody else.
        scene.pod().ip("link set lo up").unwrap();
        scene.pod().ip("link add eth0 type veth peer name far0").unwrap();
        scene.pod().ip("tuntap add dev tap0 mode tap vnet_hdr").unwrap();
        let new = Snapshot::take(scene.pod()).unwrap();
        if agent_is_down {
            scene.agent.start().unwrap();
        }
        traces::wait_none(&scene.agent).unwrap();
        wait_dead(&scene.topology);
        assert_eq!(scene.agent.json(&["status"]).unwrap(), serde_json::json!([]));
        assert_eq!(new.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());

        scene.pod().ip("link set far0 up").unwrap();
        scene.pod().ip("link set eth0 up").unwrap();
        scene.pod().ip("address add 10.88.0.5/24 dev eth0").unwrap();
        let port = scene.attach(&["--tap", "tap1"]).unwrap();
        assert_ne!(port["id"], old["id"]);
    }
}

/// A VMM that is slow to die keeps the namespace alive behind its deleted name. Its guest must not get past us.
#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_namespace_that_outlives_its_name_lets_nothing_through() {
    require_netns!();
    for without_tcx in [false, true] {
        let mut builder = Agent::builder();
        if without_tcx {
            builder = builder.arg("--without").arg("tcx");
        }
        let scene = Scene::with(Pod::default(), builder).unwrap();
        scene.attach(&[]).unwrap();
        let guest = scene.guest().unwrap();
        configure(&guest).unwrap();
        wait_ping(scene.node(), &POD4.to_string()).unwrap();
        let inside = Process::spawn(scene.pod().command("sleep").arg("600")).unwrap();
        // nsenter becomes the program; until then its namespace is ours.
        let path = format!("/proc/{}/ns/net", inside.pid());
        let inode = |path: &str| std::fs::read_link(path).unwrap();
        poll::wait_until("the process to be inside", SOON, || {
            (inode(&path) != inode("/proc/self/ns/net")).then_some(())
        })
        .unwrap();
        delete(scene.pod());
        poll::try_until("the port to leave the list, or to say that it goes", SOON, || {
            let all = scene.agent.json(&["status"])?;
            Ok(all.as_array().is_some_and(|all| all.iter().all(|p| p["state"] != "ready")).then_some(()))
        })
        .unwrap();
        let within = |words: &[&str]| {
            let mut command = Command::new("nsenter");
            run(command.arg(format!("--net={path}")).args(words), COMMAND).unwrap()
        };
        // Frames to the pod's own stack are what a tap without our program would let in.
        guest.guest.exec(&["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", &POD4.to_string()]).ok();
        let tap = within(&["ip", "-j", "link", "show", "tap0"]);
        let up = tap.code == 0 && tap.stdout.contains("\"UP\"");
        let guarded = within(&["tc", "filter", "show", "dev", "tap0", "ingress"]).stdout.contains("from_vm")
            || traces::port_pins(&scene.agent).unwrap().iter().any(|pin| pin.ends_with("from_vm"));
        assert!(!up || guarded, "the tap is up without from_vm: {}", tap.stdout);
        drop(guest);
        drop(inside);
        wait_dead(&scene.topology);
        traces::wait_none(&scene.agent).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_path_that_leads_to_the_node_by_now_is_another_namespace() {
    require_netns!();
    let mut agent = Agent::builder().start().unwrap();
    let topology = Pod::default().build().unwrap();
    // As /proc/PID/ns/net, once the process is gone and its number somebody else's.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net");
    symlink(topology.pod.path(), &path).unwrap();
    agent.json(&["attach", "--netns", path.to_str().unwrap()]).unwrap();
    agent.kill9().unwrap();
    delete(&topology.pod);
    wait_dead(&topology);
    fs::remove_file(&path).unwrap();
    symlink("/proc/self/ns/net", &path).unwrap();
    agent.start().unwrap();
    poll::try_until("the port to be forgotten", SOON, || {
        Ok(agent.json(&["status"])?.as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .unwrap();
    assert_eq!(traces::of_ports(&agent).unwrap(), Vec::<String>::new());
}
