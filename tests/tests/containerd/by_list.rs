// SPDX-License-Identifier: MIT OR Apache-2.0
//! By the runtime's list of pods (CRI): wired once they run, and taken off when they are gone.

use netagent_tests::{containerd::Release, poll};

use crate::{
    cri::Pod,
    require_containerd,
    scene::{By, SOON, Scene, guest, lease, pod_address, wait_ping},
};

fn life_of_a_pod(release: Release) {
    // The agent first: a runtime that is not there yet is waited for.
    let mut scene = Scene::prepare(release, By::Cri).unwrap();
    scene.agent.start().unwrap();
    let before = scene.kept().unwrap();
    scene.wait_log("ports stay as they are").unwrap();
    scene.containerd.run().unwrap();

    let plain = scene.kubelet.run(&Pod::new("plain", &[])).unwrap();
    let node = Pod { host_network: true, ..Pod::new("node", &[("netagent.dev/attach", "true")]) };
    let node = scene.kubelet.run(&node).unwrap();
    let odd = Pod::new("odd", &[("netagent.dev/attach", "true"), ("netagent.dev/quees", "2")]);
    let odd = scene.kubelet.run(&odd).unwrap();
    let vm = Pod::new("vm", &[("netagent.dev/attach", "eth0"), ("netagent.dev/ntp", "192.0.2.7")]);
    let sandbox = scene.kubelet.run(&vm).unwrap();

    let port = scene.wait_port(&sandbox).unwrap();
    assert_eq!(port["origin"]["source"], "cri");
    assert_eq!(port["origin"]["pod_name"], "vm");
    assert_eq!(port["origin"]["pod_namespace"], "default");
    assert_eq!(port["origin"]["pod_uid"], vm.uid());
    assert_eq!(port["guest"]["hostname"], "vm");
    // The others get nothing, and it is said why.
    assert_eq!(scene.ports().unwrap().len(), 1);
    scene.wait_log("pod default/node is on the node's own network").unwrap();
    scene.wait_log("did you mean netagent.dev/queues?").unwrap();
    let told = scene.agent.json(&["sources"]).unwrap();
    assert_eq!(
        (&told[0]["name"], &told[0]["up"], &told[0]["pods"]),
        (&"cri".into(), &true.into(), &3.into())
    );
    let mut unserved: Vec<_> = told[0]["unserved"].as_array().unwrap().iter().collect();
    unserved.sort_by_key(|pod| pod["pod_name"].to_string());
    let named: Vec<_> = unserved.iter().map(|pod| (&pod["pod_name"], &pod["obstacle"])).collect();
    let expected =
        [("node", "host_network"), ("odd", "annotation")].map(|(pod, why)| (pod.into(), why.into()));
    assert_eq!(named, expected.each_ref().map(|(pod, why)| (pod, why)));
    assert!(unserved[1]["reason"].as_str().unwrap().contains("did you mean netagent.dev/queues?"), "{told}");

    let address = pod_address(&port).unwrap();
    let vm = guest(&port).unwrap();
    let leased = lease(&vm).unwrap();
    assert_eq!(leased.address, address);
    assert_eq!(leased.mtu, Some(1400));
    assert_eq!(leased.hostname.as_deref(), Some("vm"));
    assert_eq!(leased.dns, ["10.96.0.10".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(leased.search, ["svc.cluster.local"]);
    wait_ping(scene.containerd.node(), address).unwrap();

    // Neither the agent nor the runtime is needed for the port to go on, and neither's return takes it off.
    scene.agent.kill9().unwrap();
    scene.agent.start().unwrap();
    assert_eq!(scene.wait_port(&sandbox).unwrap()["tap"]["ifindex"], port["tap"]["ifindex"]);
    let answered = scene.agent.log().matches("reads the container runtime's pods").count();
    scene.containerd.kill9().unwrap();
    scene.wait_log_times("cannot read the container runtime's pods", 2).unwrap();
    assert_eq!(scene.wait_port(&sandbox).unwrap()["tap"]["ifindex"], port["tap"]["ifindex"]);
    wait_ping(scene.containerd.node(), address).unwrap();
    scene.runtime_again().unwrap();
    scene.wait_log_times("reads the container runtime's pods", answered + 1).unwrap();
    assert_eq!(scene.wait_port(&sandbox).unwrap()["tap"]["ifindex"], port["tap"]["ifindex"]);
    wait_ping(scene.containerd.node(), address).unwrap();

    drop(vm);
    scene.kubelet.remove(&sandbox).unwrap();
    poll::try_until("the port to go", SOON, || Ok(scene.ports()?.is_empty().then_some(()))).unwrap();
    assert_eq!(scene.kept().unwrap(), before);
    for id in [plain, node, odd] {
        scene.kubelet.remove(&id).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test containerd"]
fn a_pod_of_containerd_1_6_is_wired_and_taken_off_by_polling() {
    require_containerd!();
    life_of_a_pod(Release::Bookworm);
}

#[test]
#[ignore = "needs root: cargo xtask test containerd"]
fn a_pod_of_containerd_1_7_is_wired_and_taken_off_by_events() {
    require_containerd!();
    life_of_a_pod(Release::Trixie);
}
