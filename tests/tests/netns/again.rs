// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attaching what is attached: the same answer, a change, or a refusal that harms nothing.

use netagent_tests::{
    attached,
    lease::DhcpClient,
    stand_in::{StandIn, StandInSpec},
    topology::POD4,
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, lease, ping, wait_ping},
    snapshot::Snapshot,
};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_same_ask_gets_the_same_answer_and_changes_nothing() {
    require_netns!();
    let mut scene = Scene::new().unwrap();
    let planned = scene.plan(&[]).unwrap();
    assert!(planned.len() >= 6, "{planned:?}");
    // Planning has not done anything.
    assert_eq!(scene.agent.json(&["status"]).unwrap(), json!([]));
    let first = scene.attach(&[]).unwrap();
    let wired = Snapshot::take(scene.pod()).unwrap();
    assert_eq!(scene.plan(&[]).unwrap(), Vec::<String>::new());
    assert!(
        scene
            .agent
            .cli(&[
                "plan",
                "--netns",
                crate::scene::path(scene.pod()).unwrap(),
                "--resolv-conf",
                scene.topology.resolv_conf().to_str().unwrap(),
                "--hostname",
                crate::scene::HOSTNAME
            ])
            .unwrap()
            .stdout
            .contains("nothing to do")
    );
    // With a VMM on the tap too, and after a restart.
    let _guest = scene.guest().unwrap();
    assert_eq!(scene.attach(&[]).unwrap()["tap"], first["tap"]);
    scene.agent.kill9().unwrap();
    scene.agent.start().unwrap();
    let again = scene.attach(&[]).unwrap();
    for field in ["id", "state", "netns", "pod_link", "tap", "guest", "datapath"] {
        assert_eq!(again[field], first[field], "{field}");
    }
    let programs = |s: &Snapshot| s.part("programs").unwrap().clone();
    assert_eq!(programs(&Snapshot::take(scene.pod()).unwrap()), programs(&wired));
    assert_eq!(scene.agent.json(&["status"]).unwrap().as_array().map(Vec::len), Some(1));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn many_asks_at_once_make_one_port() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..6).map(|_| scope.spawn(|| scene.try_attach(&["-o", "json"]))).collect();
        asks.into_iter().map(|ask| ask.join().unwrap().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.code, 0, "{answer:?}");
    }
    assert_eq!(scene.agent.json(&["status"]).unwrap().as_array().map(Vec::len), Some(1));
    assert_eq!(attached::programs(scene.pod()).unwrap().len(), 3);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_cannot_change_is_refused_and_the_port_unharmed() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let port = scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    lease(&guest, DhcpClient::Udhcpc).unwrap();
    let wired = Snapshot::take(scene.pod()).unwrap();
    for (flags, named) in [
        (["--tap", "tap9"], "tap name tap0 instead of tap9"),
        (["--queues", "4"], "queues 1 instead of 4"),
        (["--owner", "107"], "owner -:- instead of 107:-"),
    ] {
        let refused = scene.try_attach(&flags).unwrap();
        assert_eq!(refused.code, 1, "{flags:?}");
        assert!(refused.stderr.contains(port["id"].as_str().unwrap()), "{}", refused.stderr);
        assert!(refused.stderr.contains(named), "{}", refused.stderr);
        assert!(refused.stderr.contains("detach it first"), "{}", refused.stderr);
    }
    assert_eq!(wired.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());
    assert_eq!(scene.show().unwrap()["state"], "ready");
    ping(scene.node(), &POD4.to_string()).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn host_name_tier_and_mac_change_under_a_running_guest() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut client = guest.dhcp(DhcpClient::Udhcpc).unwrap();
    client.wait_lease(SOON).unwrap();
    let programs = attached::programs(scene.pod()).unwrap();

    let port = scene.attach(&["--hostname", "vm-two", "--tier", "plain"]).unwrap();
    assert_eq!((&port["guest"]["hostname"], &port["datapath"]["tier"]), (&json!("vm-two"), &json!("plain")));
    // udhcpc renews on this signal.
    client.process.signal(Signal::SIGUSR1).unwrap();
    let renewed = client.wait_lease_after(1, SOON).unwrap();
    assert_eq!(renewed.hostname.as_deref(), Some("vm-two"));
    ping(scene.node(), &POD4.to_string()).unwrap();
    drop(client);
    drop(guest);

    let mac = "52:54:00:00:00:77";
    let port = scene.attach(&["--mac", mac, "--hostname", "vm-two"]).unwrap();
    assert_eq!(port["guest"]["mac"], mac);
    assert_eq!(port["datapath"]["tier"], "peer");
    let guest = StandIn::start(scene.pod(), &StandInSpec::new(TAP, mac)).unwrap();
    lease(&guest, DhcpClient::Udhcpc).unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
    // All of it by settings: the programs were not touched.
    assert_eq!(attached::programs(scene.pod()).unwrap(), programs);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_the_cni_changes_later_reaches_the_guest() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    let mut client = guest.dhcp(DhcpClient::Udhcpc).unwrap();
    assert_eq!(client.wait_lease(SOON).unwrap().mtu, Some(1500));
    scene.pod().ip("link set eth0 mtu 1420").unwrap();
    let port = scene.attach(&[]).unwrap();
    assert_eq!((&port["pod_link"]["mtu"], &port["tap"]["mtu"]), (&json!(1420), &json!(1420)));
    let tap = scene.pod().ip_json(&format!("link show {TAP}")).unwrap();
    assert_eq!(tap[0]["mtu"], 1420);
    client.process.signal(Signal::SIGUSR1).unwrap();
    assert_eq!(client.wait_lease_after(1, SOON).unwrap().mtu, Some(1420));
}
