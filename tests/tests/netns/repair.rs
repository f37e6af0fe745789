// SPDX-License-Identifier: MIT OR Apache-2.0
//! What somebody takes away from a running port is put back within a second, because the agent hears of it, or sees it:
//! these agents compare their ports with what they should be once an hour.

use std::{fs, time::Instant};

use netagent_tests::{
    agent::Agent,
    attached::{self, Attached},
    lease::DhcpClient,
    poll,
    topology::{HOST_LINK, POD_LINK, POD4, Pod},
};

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, is_pods, lease, wait_ping},
    snapshot::Snapshot,
    traces,
};

fn scene(scratch: &tempfile::TempDir, without_tcx: bool) -> Scene {
    let config = scratch.path().join("netagent.toml");
    fs::write(&config, "resync_seconds = 3600\n").unwrap();
    let mut builder = Agent::builder().arg("--config").arg(config.to_str().unwrap());
    if without_tcx {
        builder = builder.arg("--without").arg("tcx");
    }
    Scene::with(Pod::default(), builder).unwrap()
}

fn exec(scene: &Scene, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    scene.pod().exec_ok(&words).unwrap();
}

fn unpin(scene: &Scene, program: &str) {
    let pins = traces::port_pins(&scene.agent).unwrap();
    let pin = pins.iter().find(|pin| pin.ends_with(program)).unwrap();
    fs::remove_file(pin).unwrap();
}

/// As `bpf_link_detach` does it: the pin stays, and holds a link of nothing.
fn detach_link(scene: &Scene, program: &str) {
    let pins = traces::port_pins(&scene.agent).unwrap();
    let pin = pins.iter().find(|pin| pin.ends_with(program)).unwrap();
    scene.pod().exec_ok(&["bpftool", "link", "detach", "pinned", pin]).unwrap();
}

/// Deletes the pod link and makes it again, as a CNI that repairs a pod does it.
fn remake_pod_link(scene: &Scene) {
    let mac = scene.topology.pod_mac().unwrap();
    scene.pod().ip(&format!("link del {POD_LINK}")).unwrap();
    let pod = scene.pod().name();
    let node = scene.node();
    node.ip(&format!("link add {HOST_LINK} type veth peer name {POD_LINK} address {mac} netns {pod}"))
        .unwrap();
    node.sysctl(&format!("ipv6/conf/{HOST_LINK}/accept_dad"), "0").unwrap();
    node.ip(&format!("link set {HOST_LINK} up")).unwrap();
    scene.topology.address_again().unwrap();
}

fn is_whole(scene: &Scene, wired: &[Attached]) -> bool {
    let names = |programs: &[Attached]| -> Vec<String> {
        programs.iter().map(|one| format!("{} {} {}", one.link, one.hook, one.program)).collect()
    };
    attached::programs(scene.pod()).is_ok_and(|now| names(&now) == names(wired))
}

/// How often the agent has said that a port came to be as desired.
fn repairs_so_far(scene: &Scene) -> usize {
    let said = ["port is ready", "port is as desired again"];
    scene.agent.log().lines().filter(|line| said.iter().any(|words| line.contains(words))).count()
}

/// What is done to a port, in words and in deed.
type Damage<'a> = (&'a str, &'a dyn Fn(&Scene));

/// Damages a port in one way after the other; each time it must be as before, and serve a guest.
fn repairs(without_tcx: bool, damages: &[Damage<'_>]) {
    let scratch = tempfile::tempdir().unwrap();
    let scene = scene(&scratch, without_tcx);
    scene.attach(&[]).unwrap();
    let wired = attached::programs(scene.pod()).unwrap();
    for (what, damage) in damages {
        let repairs = repairs_so_far(&scene);
        let damaged = Instant::now();
        damage(&scene);
        poll::wait_until(&format!("the agent to have repaired: {what}"), SOON, || {
            (repairs_so_far(&scene) > repairs).then_some(())
        })
        .unwrap();
        println!("{what}: done and repaired within {} ms", damaged.elapsed().as_millis());
        poll::try_until(&format!("the repair after: {what}"), SOON, || {
            let tap = scene.pod().ip_json("link show")?;
            let whole = tap.as_array().into_iter().flatten().any(|link| {
                link["ifname"] == TAP
                    && link["mtu"] == 1500
                    && link["qdisc"] == "noqueue"
                    && link["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == "UP"))
            });
            let ready = scene.show()?["state"] == "ready";
            Ok((whole && ready && is_whole(&scene, &wired)).then_some(()))
        })
        .unwrap();
        let guest = scene.guest().unwrap();
        assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address), "{what}");
        wait_ping(scene.node(), &POD4.to_string()).unwrap();
    }
    scene.detach().unwrap();
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
}

const DELETE_TAP: &str = "ip link del tap0";

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn damage_is_repaired_with_tcx() {
    require_netns!();
    repairs(
        false,
        &[
            ("tap deleted", &|scene| exec(scene, DELETE_TAP)),
            ("to_vm taken off", &|scene| unpin(scene, "to_vm")),
            ("from_vm taken off", &|scene| unpin(scene, "from_vm")),
            ("to_vm's link detached", &|scene| detach_link(scene, "to_vm")),
            ("from_vm's link detached", &|scene| detach_link(scene, "from_vm")),
            ("from_pod's link detached", &|scene| detach_link(scene, "from_pod")),
            ("the pod link made anew", &remake_pod_link),
            ("tap set down", &|scene| exec(scene, "ip link set tap0 down")),
            ("another MTU", &|scene| exec(scene, "ip link set tap0 mtu 1300")),
            ("another qdisc", &|scene| exec(scene, "tc qdisc replace dev tap0 root pfifo_fast")),
        ],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn damage_is_repaired_with_clsact() {
    require_netns!();
    repairs(
        true,
        &[
            ("tap deleted", &|scene| exec(scene, DELETE_TAP)),
            ("to_vm taken off", &|scene| exec(scene, "tc filter del dev eth0 ingress")),
            ("from_vm taken off", &|scene| exec(scene, "tc filter del dev tap0 ingress")),
            ("from_pod taken off", &|scene| exec(scene, "tc filter del dev eth0 egress")),
            ("the pod link made anew", &remake_pod_link),
            ("the pod link's clsact deleted", &|scene| exec(scene, "tc qdisc del dev eth0 clsact")),
            ("the tap's clsact deleted", &|scene| exec(scene, "tc qdisc del dev tap0 clsact")),
        ],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_link_that_goes_down_fails_the_port_until_it_comes_back() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let scene = scene(&scratch, false);
    scene.attach(&[]).unwrap();
    scene.pod().ip(&format!("link set {POD_LINK} down")).unwrap();
    let port = scene.wait_port("the port to fail", |port| port["state"] == "failed").unwrap();
    assert!(port["reason"].as_str().unwrap().contains("is down"), "{port}");
    let table = scene.agent.cli(&["status"]).unwrap().stdout;
    assert!(table.contains("failed") && table.contains("is down"), "{table}");
    scene.pod().ip(&format!("link set {POD_LINK} up")).unwrap();
    scene.pod().ip("route add default via 10.88.0.1 dev eth0 onlink").unwrap();
    scene.wait_port("the port to come back", |port| port["state"] == "ready").unwrap();
    let guest = scene.guest().unwrap();
    lease(&guest, DhcpClient::Udhcpc).unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn passes_over_a_whole_port_change_nothing() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    for without_tcx in [false, true] {
        let scene = scene(&scratch, without_tcx);
        scene.attach(&[]).unwrap();
        let wired = Snapshot::take(scene.pod()).unwrap();
        // Three repairs that must happen, of another kind than what is compared, show that passes went by.
        for _ in 0..3 {
            exec(&scene, "ip link set tap0 mtu 1300");
            poll::try_until("a pass", SOON, || {
                Ok((scene.pod().ip_json("link show tap0")?[0]["mtu"] == 1500).then_some(()))
            })
            .unwrap();
        }
        assert_eq!(wired.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    }
}
