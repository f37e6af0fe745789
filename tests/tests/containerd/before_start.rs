// SPDX-License-Identifier: MIT OR Apache-2.0
//! Before the pod starts (NRI): the runtime waits for the ports, and a pod that cannot get them does not start.

use netagent_tests::{containerd::Release, poll};

use crate::{
    cri::Pod,
    require_containerd,
    scene::{By, SOON, Scene, guest, lease, pod_address, wait_ping},
};

const ATTACH: (&str, &str) = ("netagent.dev/attach", "true");

fn life_of_a_pod(release: Release) {
    let mut scene = Scene::start(release, By::Nri).unwrap();
    scene.wait_log("pods wait for their ports before they start").unwrap();

    let kept = scene.kept().unwrap();
    let plain = scene.kubelet.run(&Pod::new("plain", &[])).unwrap();
    let sandbox = scene.kubelet.run(&Pod::new("vm", &[ATTACH])).unwrap();
    // Not waited for: it was there before the sandbox was.
    let port = scene.ready_port(&sandbox).unwrap().unwrap();
    assert_eq!(port["origin"]["source"], "nri");
    assert_eq!(port["origin"]["pod_name"], "vm");
    assert_eq!(scene.ports().unwrap().len(), 1);

    // What cannot be wired does not start, and costs no other.
    let misspelt = Pod::new("odd", &[ATTACH, ("netagent.dev/quees", "2")]);
    let refused = scene.kubelet.run(&misspelt).unwrap_err().to_string();
    assert!(refused.contains("did you mean netagent.dev/queues?"), "{refused}");
    let linkless = Pod::new("linkless", &[("netagent.dev/attach", "eth0,eth7")]);
    let refused = scene.kubelet.run(&linkless).unwrap_err().to_string();
    assert!(refused.contains("eth7"), "{refused}");
    let node = Pod { host_network: true, ..Pod::new("node", &[ATTACH]) };
    let refused = scene.kubelet.run(&node).unwrap_err().to_string();
    assert!(refused.contains("node's own network"), "{refused}");
    poll::try_until("nothing of the refused pods", SOON, || Ok((scene.ports()?.len() == 1).then_some(())))
        .unwrap();

    let address = pod_address(&port).unwrap();
    let vm = guest(&port).unwrap();
    let leased = lease(&vm).unwrap();
    assert_eq!((leased.address, leased.hostname.as_deref()), (address, Some("vm")));
    assert_eq!(leased.dns, ["10.96.0.10".parse::<std::net::Ipv4Addr>().unwrap()]);
    wait_ping(scene.containerd.node(), address).unwrap();

    // Pods that come while the agent is away start without it, and are wired when it is back.
    scene.agent.kill9().unwrap();
    let second = scene.kubelet.run(&Pod::new("second", &[ATTACH])).unwrap();
    scene.agent.start().unwrap();
    scene.wait_port(&second).unwrap();
    assert_eq!(scene.wait_port(&sandbox).unwrap()["tap"]["ifindex"], port["tap"]["ifindex"]);

    // And a runtime that is away takes nothing off.
    let before = scene.agent.log().matches("pods wait for their ports before they start").count();
    scene.containerd.kill9().unwrap();
    scene.wait_log("pods start without NRI").unwrap();
    assert_eq!(scene.ports().unwrap().len(), 2);
    scene.runtime_again().unwrap();
    scene.wait_log_times("pods wait for their ports before they start", before + 1).unwrap();
    assert_eq!(scene.wait_port(&sandbox).unwrap()["tap"]["ifindex"], port["tap"]["ifindex"]);
    wait_ping(scene.containerd.node(), address).unwrap();

    drop(vm);
    for id in [&sandbox, &second] {
        scene.kubelet.remove(id).unwrap();
    }
    poll::try_until("the ports to go", SOON, || Ok(scene.ports()?.is_empty().then_some(()))).unwrap();
    assert_eq!(scene.kept().unwrap(), kept);
    scene.kubelet.remove(&plain).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test containerd"]
fn a_pod_of_containerd_1_7_is_wired_before_it_starts() {
    require_containerd!();
    life_of_a_pod(Release::Trixie);
}

#[test]
#[ignore = "needs root: cargo xtask test containerd"]
fn a_pod_of_containerd_2_is_wired_before_it_starts() {
    require_containerd!();
    life_of_a_pod(Release::Sid);
}
