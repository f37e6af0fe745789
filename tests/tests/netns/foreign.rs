// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is not ours is never changed: devices with our tap's name, qdiscs, filters, pins.

use std::{fs, process::Command, time::Duration};

use netagent_tests::{
    agent::{Agent, AgentBuilder},
    attached,
    lease::DhcpClient,
    netns::Netns,
    process::run_ok,
    topology::{POD4, Pod},
};

use crate::{
    require_netns,
    scene::{self, Scene, TAP, lease, ping},
    snapshot::Snapshot,
    traces,
};

/// Every agent of these tests looks at its ports each second: a foreign object has to survive that, too.
fn builder(scratch: &tempfile::TempDir, without_tcx: bool) -> AgentBuilder {
    let config = scratch.path().join("netagent.toml");
    fs::write(&config, "resync_seconds = 1\n").unwrap();
    let builder = Agent::builder().arg("--config").arg(config.to_str().unwrap());
    if without_tcx { builder.arg("--without").arg("tcx") } else { builder }
}

fn clean_up(agent: &mut Agent) {
    agent.kill9().unwrap();
    let bpffs = agent.bpffs().path().to_str().unwrap().to_owned();
    let done = agent.cli(&["cleanup", "--bpffs", &bpffs]).unwrap();
    assert_eq!(done.code, 0, "{done:?}");
}

fn assert_same(before: &Snapshot, scene: &Scene, when: &str) {
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new(), "{when}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_device_with_the_taps_name_is_refused_and_survives() {
    require_netns!();
    let devices: [(&str, &[&str]); 4] = [
        ("veth", &["link add tap0 type veth peer name other0"]),
        ("bridge", &["link add tap0 type bridge", "link set tap0 up"]),
        ("tun", &["tuntap add dev tap0 mode tap vnet_hdr", "link set tap0 up"]),
        // As if ours, of another port.
        ("tun", &["tuntap add dev tap0 mode tap vnet_hdr", "link set tap0 alias netagent\u{a0}1-eth0"]),
    ];
    for (kind, make) in devices {
        let mut scene = Scene::new().unwrap();
        for command in make {
            let words: Vec<String> = command.split(' ').map(|word| word.replace('\u{a0}', " ")).collect();
            let words: Vec<&str> = ["ip"].into_iter().chain(words.iter().map(String::as_str)).collect();
            scene.pod().exec_ok(&words).unwrap();
        }
        let before = Snapshot::take(scene.pod()).unwrap();
        let refused = scene.try_attach(&[]).unwrap();
        assert_eq!(refused.code, 1, "{kind}: {refused:?}");
        for word in ["tap0 exists and was not made by netagent", kind, "--tap"] {
            assert!(refused.stderr.contains(word), "{kind}: {}", refused.stderr);
        }
        assert_same(&before, &scene, "after the refusal");
        assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
        assert_eq!(scene.detach().unwrap(), Vec::<String>::new());
        assert_same(&before, &scene, "after a detach");

        // Under another name the port comes and goes beside it.
        scene.attach(&["--tap", "tap1"]).unwrap();
        scene.detach().unwrap();
        assert_same(&before, &scene, "after a port beside it");
        scene.attach(&["--tap", "tap1"]).unwrap();
        clean_up(&mut scene.agent);
        assert_same(&before, &scene, "after cleanup");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_device_that_takes_our_taps_place_stops_the_port_and_survives() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    for without_tcx in [false, true] {
        let scene = Scene::with(Pod::default(), builder(&scratch, without_tcx)).unwrap();
        scene.attach(&[]).unwrap();
        // A name can change hands only while the device is there: no moment for the agent to come in between.
        scene.pod().ip("link add other0 type veth peer name other1").unwrap();
        scene.pod().ip(&format!("link set {TAP} down")).unwrap();
        scene.pod().exec_ok(&["ip", "-batch", batch(&scratch)]).unwrap();
        let port = scene.wait_port("the port to fail", |port| port["state"] == "failed").unwrap();
        let reason = port["reason"].as_str().unwrap();
        assert!(reason.contains("tap0 exists and was not made by netagent"), "{reason}");
        let link = || scene.pod().ip_json(&format!("link show {TAP}")).unwrap();
        let before = link();
        assert_eq!(scene.detach().unwrap().len(), 1);
        assert_eq!(link(), before);
        assert_eq!(attached::programs(scene.pod()).unwrap(), []);
        assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
    }
}

/// Deletes the tap and renames the foreign device, in one process.
fn batch(scratch: &tempfile::TempDir) -> &'static str {
    let file = scratch.path().join("batch");
    fs::write(&file, format!("link set {TAP} name gone0\nlink set other0 name {TAP}\nlink del gone0\n"))
        .unwrap();
    Box::leak(file.to_str().unwrap().to_owned().into_boxed_str())
}

const INGRESS_FILTER: &str =
    "filter add dev eth0 ingress protocol ip prio 1 u32 match ip dst 203.0.113.9/32 classid 1:1";
const EGRESS_FILTER: &str =
    "filter add dev eth0 egress protocol ip prio 1 u32 match ip dst 203.0.113.9/32 classid 1:1";

fn tc(netns: &Netns, arguments: &str) {
    let words: Vec<&str> = ["tc"].into_iter().chain(arguments.split(' ')).collect();
    netns.exec_ok(&words).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn qdiscs_and_filters_on_the_pod_link_survive_attach_and_detach() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let root = "qdisc add dev eth0 root handle 7: tbf rate 1gbit burst 1mb latency 50ms";
    let cases: [&[&str]; 5] = [
        &["qdisc add dev eth0 clsact"],
        &["qdisc add dev eth0 clsact", INGRESS_FILTER],
        &["qdisc add dev eth0 clsact", EGRESS_FILTER, INGRESS_FILTER, root],
        &["qdisc add dev eth0 ingress", INGRESS_FILTER],
        &[root],
    ];
    for without_tcx in [false, true] {
        let mut agent = builder(&scratch, without_tcx).start().unwrap();
        // Without tcx the egress guard needs a clsact qdisc where the ingress qdisc is.
        let possible = cases.iter().filter(|case| !(without_tcx && case[0].ends_with(" ingress")));
        let pods: Vec<_> = possible
            .map(|case| {
                let topology = Pod::default().build().unwrap();
                case.iter().for_each(|command| tc(&topology.pod, command));
                let before = Snapshot::take(&topology.pod).unwrap();
                (case, topology, before)
            })
            .collect();
        let attach_all = |agent: &Agent| {
            for (_, topology, _) in &pods {
                scene::attach(agent, topology, &[]).unwrap();
            }
        };
        let assert_all_same = |when: &str| {
            for (case, topology, before) in &pods {
                let changes = before.changes(&Snapshot::take(&topology.pod).unwrap());
                assert_eq!(changes, Vec::<String>::new(), "{case:?} {when}");
            }
        };
        attach_all(&agent);
        for (_, topology, _) in &pods {
            let guest = scene::guest(&agent, topology).unwrap();
            lease(&guest, DhcpClient::Udhcpc).unwrap();
            ping(&topology.node, &POD4.to_string()).unwrap();
            drop(guest);
            scene::detach(&agent, topology).unwrap();
        }
        assert_all_same("after detach");
        // With a restart in between: whose qdisc it was is not forgotten.
        attach_all(&agent);
        agent.kill9().unwrap();
        agent.start().unwrap();
        for (_, topology, _) in &pods {
            scene::detach(&agent, topology).unwrap();
        }
        assert_all_same("after a restart and detach");
        attach_all(&agent);
        clean_up(&mut agent);
        assert_all_same("after cleanup");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn an_ingress_qdisc_without_tcx_is_refused_and_stays() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    let scene = Scene::with(Pod::default(), builder(&scratch, true)).unwrap();
    tc(scene.pod(), "qdisc add dev eth0 ingress");
    let before = Snapshot::take(scene.pod()).unwrap();
    let refused = scene.try_attach(&[]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("pod link eth0 has an ingress qdisc"), "{}", refused.stderr);
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn filters_that_others_added_to_our_qdisc_keep_it() {
    require_netns!();
    let scratch = tempfile::tempdir().unwrap();
    for filter in [INGRESS_FILTER, EGRESS_FILTER] {
        let scene = Scene::with(Pod::default(), builder(&scratch, true)).unwrap();
        scene.attach(&[]).unwrap();
        tc(scene.pod(), filter);
        scene.detach().unwrap();
        assert_eq!(attached::programs(scene.pod()).unwrap(), []);
        assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
        let after = Snapshot::take(scene.pod()).unwrap();
        assert!(after.part("qdiscs").unwrap().to_string().contains("clsact"), "{after:?}");
        let side =
            if filter == INGRESS_FILTER { "ingress filters of eth0" } else { "egress filters of eth0" };
        assert!(after.part(side).unwrap().to_string().contains("u32"), "{after:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn foreign_pins_survive_cleanup() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let root = scene.agent.bpffs().path().to_owned();
    let make = |path: &std::path::Path| {
        let mut command = Command::new("bpftool");
        command.args(["map", "create"]).arg(path);
        command.args("type array key 4 value 4 entries 1 name foreign".split(' '));
        run_ok(&mut command, Duration::from_secs(30)).unwrap();
    };
    let ports = traces::port_pins(&scene.agent).unwrap();
    let port = ports.iter().find(|path| fs::metadata(path).is_ok_and(|m| m.is_dir())).unwrap();
    fs::create_dir(root.join("netagent/not-a-version")).unwrap();
    let mut foreign = vec![
        root.join("theirs"),
        root.join("netagent/not-a-version/theirs"),
        std::path::Path::new(port).join("theirs"),
    ];
    foreign.iter().for_each(|path| make(path));
    foreign.sort();
    scene.detach().unwrap();
    clean_up(&mut scene.agent);
    assert_eq!(scene.agent.bpffs().pins().unwrap(), foreign);
}
