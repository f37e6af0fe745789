// SPDX-License-Identifier: MIT OR Apache-2.0
//! GC takes off what the runtime has forgotten, and nothing else.

use netagent_tests::{
    agent::Agent,
    cni_runtime::{Attachment, Network, Runtime},
    topology::{GATEWAY4, POD_LINK, POD4, Pod, Topology},
};
use serde_json::{Value, json};

use super::refusal;
use crate::{require_netns, scene};

/// Of a main plugin that is not there: GC came after the plugins of the package.
fn previous(topology: &Topology) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": POD_LINK, "mac": topology.pod_mac().unwrap(), "sandbox": topology.pod.path(), "mtu": 1500 },
        ],
        "ips": [{ "address": format!("{POD4}/24"), "gateway": GATEWAY4, "interface": 0 }],
    })
}

fn network(name: &str, agent: &Agent) -> Network {
    let conf = json!({ "cniVersion": "1.1.0", "name": name, "type": "netagent", "socket": agent.socket() });
    Network::read(&conf.to_string()).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn gc_takes_off_the_ports_that_the_runtime_does_not_know() {
    require_netns!();
    let agent = Agent::builder().start().unwrap();
    let pods: Vec<_> = (0..4).map(|_| Pod::default().build().unwrap()).collect();
    let runtime = Runtime::new(&pods[0].node, agent.binary()).unwrap();
    let (pods_network, other_network) = (network("pods", &agent), network("other", &agent));
    for (container, network, pod) in [
        ("kept", &pods_network, &pods[0]),
        ("stale", &pods_network, &pods[1]),
        ("elsewhere", &other_network, &pods[2]),
    ] {
        let eth0 = Attachment::new(container, &pod.pod).of_pod("shop", container, "1");
        runtime.add(network, &eth0, Some(&previous(pod))).unwrap();
    }
    // Not CNI's.
    scene::attach(&agent, &pods[3], &[]).unwrap();
    let sandboxes = || -> Vec<Value> {
        let ports = agent.json(&["status"]).unwrap();
        let mut all: Vec<_> =
            ports.as_array().unwrap().iter().map(|port| port["origin"]["sandbox"].clone()).collect();
        all.sort_by_key(Value::to_string);
        all
    };
    assert_eq!(sandboxes(), ["", "elsewhere", "kept", "stale"]);

    // A runtime that does not say what it has.
    let silent =
        json!({ "cniVersion": "1.1.0", "name": "pods", "type": "netagent", "socket": agent.socket() });
    let done = runtime.call("GC", "netagent", None, silent.to_string().as_bytes()).unwrap();
    assert_eq!(done.code, 1);
    assert!(done.stdout.contains("`cni.dev/valid-attachments` is missing"), "{done:?}");
    let mut old = pods_network.clone();
    "1.0.0".clone_into(&mut old.version);
    assert_eq!(refusal(runtime.gc(&old, &[])).code(), Some(1));
    assert_eq!(sandboxes().len(), 4);

    // The same container's other interface is another attachment.
    runtime.gc(&pods_network, &[("kept", "eth0"), ("stale", "eth1"), ("unknown", "eth0")]).unwrap();
    assert_eq!(sandboxes(), ["", "elsewhere", "kept"]);
    runtime.gc(&pods_network, &[("kept", "eth0")]).unwrap();
    assert_eq!(sandboxes(), ["", "elsewhere", "kept"]);
    runtime.gc(&pods_network, &[]).unwrap();
    assert_eq!(sandboxes(), ["", "elsewhere"]);
}
