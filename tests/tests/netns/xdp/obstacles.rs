// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands in the way of tier `xdp`: each told by its name, and nothing touched.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use netagent_tests::{
    agent::Agent,
    attached, ethtool, poll,
    process::{Process, run_ok},
    topology::{HOST_LINK, POD_LINK, Pod},
};

use super::{QUIET, quiet, scene};
use crate::{
    require_netns,
    scene::{SOON, Scene},
    snapshot::Snapshot,
};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_obstacle_is_told_and_nothing_is_touched() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let before = Snapshot::take(scene.pod()).unwrap();
    let refused = |expected: &[&str]| {
        let done = scene.try_attach(&["--tier", "xdp"]).unwrap();
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains("tier xdp is not possible"), "{}", done.stderr);
        for text in expected {
            assert!(done.stderr.contains(text), "{} should say {text}", done.stderr);
        }
        assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    };
    // As a CNI leaves it: everything is told at once.
    refused(&[
        "tx-checksum-ip-generic",
        "`ethtool -K vethpod tx off`",
        "tx-vlan-hw-insert",
        "`ethtool -K vethpod txvlan off tx-vlan-stag-hw-insert off`",
        "`ethtool -K vethpod gro on`",
    ]);
    quiet(&scene.topology);
    for feature in ["tx-checksum-ip-generic", "tx-checksum-sctp", "tx-vlan-hw-insert"] {
        ethtool::switch(scene.node(), HOST_LINK, &[(feature, true)]).unwrap();
        refused(&[feature]);
        ethtool::switch(scene.node(), HOST_LINK, &[(feature, false)]).unwrap();
    }
    ethtool::switch(scene.node(), HOST_LINK, &[("rx-gro", false)]).unwrap();
    refused(&["for want of NAPI"]);
    scene.attach(&["--tier", "plain"]).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn devices_that_xdp_cannot_have_are_told_by_name() {
    require_netns!();
    // Jumbo frames: more than a page.
    let scene = Scene::with(Pod { mtu: 9000, ..Pod::default() }, Agent::builder()).unwrap();
    quiet(&scene.topology);
    let refused = |scene: &Scene, flags: &[&str], expected: &str| {
        let done = scene.try_attach(&[&["--tier", "xdp"], flags].concat()).unwrap();
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains(expected), "{} should say {expected}", done.stderr);
    };
    refused(&scene, &[], "the MTU 9000 of eth0 is more than");

    let scene = super::scene();
    // More queues on the node than the pod link receives by.
    scene
        .node()
        .ip(&format!(
            "link add veth1 numtxqueues 4 type veth peer name eth1 numrxqueues 1 numtxqueues 1 netns {}",
            scene.pod().name()
        ))
        .unwrap();
    ethtool::switch(scene.node(), "veth1", &QUIET).unwrap();
    scene.node().ip("link set veth1 up").unwrap();
    scene.pod().ip("link set eth1 up").unwrap();
    scene.pod().ip("address add 10.99.1.2/24 dev eth1").unwrap();
    refused(&scene, &["--pod-link", "eth1", "--tap", "tap1"], "`ethtool -L veth1 tx 1`");

    // No veth, and a veth whose peer is next to it.
    scene.pod().ip("link add link eth1 name mac0 type macvlan mode bridge").unwrap();
    scene.pod().ip("link set mac0 up").unwrap();
    scene.pod().ip("address add 10.99.2.2/24 dev mac0").unwrap();
    refused(&scene, &["--pod-link", "mac0", "--tap", "tap1"], "mac0 is macvlan, not a veth");
    scene.pod().ip("link add near0 type veth peer name near1").unwrap();
    scene.pod().ip("link set near0 up").unwrap();
    scene.pod().ip("address add 10.99.3.2/24 dev near0").unwrap();
    refused(&scene, &["--pod-link", "near0", "--tap", "tap1"], "the peer of near0 is in the same namespace");

    let scene = Scene::with(Pod::default(), Agent::builder().arg("--without").arg("xdp")).unwrap();
    quiet(&scene.topology);
    refused(&scene, &[], "the kernel does not take netagent's XDP programs (6.12 does)");
    scene.attach(&[]).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_host_peer_out_of_sight_is_an_obstacle() {
    require_netns!();
    let scene = scene();
    // The namespace lives on by a process in it, and has no name any more that the agent could know.
    let node = scene.node().path().to_owned();
    let mut sleeper = Process::spawn(scene.node().command("sleep").arg("600")).unwrap();
    let inode = |path: &Path| std::fs::metadata(path).map(|meta| meta.ino()).ok();
    let own = PathBuf::from(format!("/proc/{}/ns/net", sleeper.pid()));
    poll::wait_until("the sleeper to be inside", SOON, || (inode(&own) == inode(&node)).then_some(()))
        .unwrap();
    run_ok(Command::new("ip").args(["netns", "del", scene.node().name()]), SOON).unwrap();
    assert!(!node.exists());
    let refused = scene.try_attach(&["--tier", "xdp"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("its host peer is in a namespace that is neither"), "{}", refused.stderr);
    sleeper.kill9().unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn somebody_else_s_xdp_program_stays() {
    require_netns!();
    let scene = scene();
    let foreign = scene.pod().run_inside(|| foreign_program(POD_LINK)).unwrap();
    let refused = scene.try_attach(&["--tier", "xdp"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("eth0 has an XDP program of somebody else"), "{}", refused.stderr);
    let programs = attached::programs(scene.pod()).unwrap();
    assert_eq!(programs.len(), 1, "{programs:?}");
    drop(foreign);
}

/// An XDP program that passes everything, on a link of the current namespace until it is dropped.
fn foreign_program(link: &str) -> aya::Ebpf {
    use aya::programs::{Xdp, XdpMode};
    use netagent::datapath::{Object, Pins};

    let dir = tempfile::tempdir().unwrap();
    let bpffs = netagent_tests::bpffs::BpfFs::mount(&dir.path().join("bpf")).unwrap();
    let pins = Pins::below(bpffs.path());
    std::fs::create_dir_all(pins.directory()).unwrap();
    // With maps of its own that nobody fills it passes everything on.
    let mut ebpf = Object::new().load(&pins, 0).unwrap();
    let xdp: &mut Xdp = ebpf.program_mut("xdp_to_vm").unwrap().try_into().unwrap();
    xdp.load().unwrap();
    xdp.attach(link, XdpMode::Driver).unwrap();
    ebpf
}
