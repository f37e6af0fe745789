// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several ports of one agent: each has its own slot, lease and counters, and they come and go at the same time.

use std::collections::BTreeSet;

use netagent_tests::{
    agent::Agent,
    lease::DhcpClient,
    topology::{POD4, Pod},
};

use crate::{
    require_netns,
    scene::{self, Scene, is_pods, lease, number, ping},
    traces::{self, Held},
};

/// More than the machine has CPUs, few enough for its memory.
const PODS: usize = 8;

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn ports_that_come_and_go_at_once_do_not_meet() {
    require_netns!();
    let agent = Agent::builder().start().unwrap();
    let held = Held::by(&agent).unwrap();
    // Every pod has the same addresses: nothing may be told apart by them.
    let pods: Vec<_> = (0..PODS).map(|_| Pod::default().build().unwrap()).collect();
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let asks: Vec<_> =
            pods.iter().map(|pod| scope.spawn(|| scene::attach(&agent, pod, &[]).unwrap())).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()["id"].to_string()).collect()
    });
    assert_eq!(ids.len(), PODS);
    assert_eq!(traces::entries_in_use(&agent).unwrap().len(), PODS);
    // The questions of the self-tests.
    let from_vm = |pod| number(&scene::show(&agent, pod).unwrap(), "/counters/from_vm/packets").unwrap();
    let asked: Vec<u64> = pods.iter().map(from_vm).collect();

    let (first, second) = (&pods[0], &pods[1]);
    for pod in [first, second] {
        let guest = scene::guest(&agent, pod).unwrap();
        assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
        ping(&pod.node, &POD4.to_string()).unwrap();
    }
    for (pod, asked) in pods.iter().zip(asked).skip(2) {
        let port = scene::show(&agent, pod).unwrap();
        let mut messages = port["dhcp"]["messages"].as_object().unwrap().clone();
        // They go out unasked; that there is nobody yet to hear them is no fault.
        messages.retain(|said, _| said != "advertisement");
        assert!(messages.is_empty(), "{port}");
        assert_eq!(number(&port, "/counters/from_vm/packets").unwrap(), asked, "{port}");
    }

    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| assert_eq!(scene::detach(&agent, pod).unwrap().len(), 1));
        }
    });
    assert_eq!(traces::of_ports(&agent).unwrap(), Vec::<String>::new());
    held.wait_back(&agent).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn two_ports_of_one_pod_are_named_by_their_links() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.pod().ip("link add net1 type veth peer name far1").unwrap();
    scene.pod().ip(&format!("link set far1 netns {}", scene.node().name())).unwrap();
    scene.pod().ip("link set net1 up").unwrap();
    scene.pod().ip("address add 10.99.0.5/24 dev net1").unwrap();
    scene.attach(&[]).unwrap();
    let second = scene.attach(&["--pod-link", "net1", "--tap", "tap1"]).unwrap();
    assert_eq!(second["guest"]["addresses"][0], "10.99.0.5/24");

    let path = scene::path(scene.pod()).unwrap();
    let ambiguous = scene.agent.cli(&["show", "--netns", path]).unwrap();
    assert_eq!(ambiguous.code, 1);
    assert!(ambiguous.stderr.contains("several ports"), "{}", ambiguous.stderr);
    let shown = scene.agent.json(&["show", "--netns", path, "--pod-link", "net1"]).unwrap();
    assert_eq!(shown["id"], second["id"]);
    // A third port cannot have the tap of the second, nor the second that of the first.
    let refused = scene.try_attach(&["--pod-link", "net1", "--tap", "tap0"]).unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    let detached = scene.agent.json(&["detach", "--netns", path, "--pod-link", "net1"]).unwrap();
    assert_eq!(detached["detached"], serde_json::json!([second["id"]]));
    assert_eq!(scene.show().unwrap()["state"], "ready");
    // Without a link's name all that are left go.
    scene.attach(&["--pod-link", "net1", "--tap", "tap1"]).unwrap();
    assert_eq!(scene.detach().unwrap().len(), 2);
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn an_agent_attaches_what_it_is_started_with() {
    require_netns!();
    let pod = Pod::default().build().unwrap();
    let path = scene::path(&pod.pod).unwrap();
    let mut agent = Agent::builder().arg("--attach").arg(path).prepare().unwrap();
    for _ in 0..2 {
        agent.start().unwrap();
        let status = || agent.json(&["status"]).unwrap();
        netagent_tests::poll::wait_until("the port to be ready", scene::SOON, || {
            (status()[0]["state"] == "ready").then_some(())
        })
        .unwrap();
        assert_eq!(status().as_array().map(Vec::len), Some(1));
        agent.kill9().unwrap();
    }
    // One that is not there is named in the log; the ports that are there need the agent more than it needs this one.
    agent.set_args(["--attach", "/run/netns/natest-not-there"]);
    agent.start().unwrap();
    let said = |log: &str| {
        log.lines().any(|line| line.contains("could not attach") && line.contains("natest-not-there"))
    };
    netagent_tests::poll::wait_until("the refusal in the log", scene::SOON, || {
        said(&agent.log()).then_some(())
    })
    .unwrap();
    assert_eq!(scene::show(&agent, &pod).unwrap()["state"], "ready");
}
