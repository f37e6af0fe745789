// SPDX-License-Identifier: MIT OR Apache-2.0
//! Behind another plugin, as Kubernetes' runtimes have it.

use netagent_tests::iperf::{self, Iperf};
use serde_json::json;

use super::{CONTAINER, Node, address, ours, pod_of, require_plugins};
use crate::{scene, snapshot::Snapshot};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_s_port_comes_and_goes_behind_bridge_and_portmap() {
    require_plugins!();
    let mut node = Node::new();
    let before = Snapshot::take(&node.pod).unwrap();
    let network = node.documented("pods");
    let mappings = json!([{ "hostPort": 8080, "containerPort": 5201, "protocol": "tcp" }]);
    node.runtime.capabilities.insert("portMappings".to_owned(), mappings);
    let eth0 = pod_of(CONTAINER, &node.pod);

    let result = node.runtime.add(&network, &eth0, None).unwrap();
    // What bridge made, and nothing else: the runtime takes the addresses for the pod's.
    let names: Vec<_> =
        result["interfaces"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!((names.len(), &names[0], &names[2]), (3, &json!("cni0"), &json!("eth0")), "{result}");
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(1), "{result}");
    assert_eq!(result["cniVersion"], "1.0.0");

    let port = node.port("eth0");
    assert_eq!(port["state"], "ready");
    let origin = json!({
        "source": "cni",
        "sandbox": CONTAINER,
        "pod_uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "pod_namespace": "shop",
        "pod_name": "vm-7",
        "network": "pods",
        "ifname": "eth0",
    });
    assert_eq!(port["origin"], origin);
    assert_eq!((&port["tap"]["owner"], &port["tap"]["queues"]), (&json!("107:107"), &json!(2)));
    // portmap of the package looks for IPv6 rules that it has not made.
    node.runtime.check(&ours(&network), &eth0, &result).unwrap();

    let guest = node.guest(&port);
    let address = address(&result);
    node.talks(&guest, &address, "10.88.0.1");
    // What portmap made leads to the guest: it has the pod's address.
    node.node.ip("address add 192.0.2.1/32 dev lo").unwrap();
    let log = node.agent.dir().join("iperf3.log");
    let server = iperf::server(&guest.guest, 5201, &log).unwrap();
    let report = Iperf::to([192, 0, 2, 1], 1).port(8080).run(&node.node).unwrap();
    assert!(report.received_bits_per_second() > 1e6, "{report:?}");
    drop((server, guest));

    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    node.assert_nothing_left(&before);
    // As often as the runtime likes, with and without what ADD gave it.
    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    node.runtime.del(&network, &eth0, None).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_second_add_changes_nothing_and_answers_the_same() {
    require_plugins!();
    let node = Node::new();
    let network = node.documented("pods");
    let eth0 = pod_of(CONTAINER, &node.pod);
    let result = node.runtime.add(&network, &eth0, None).unwrap();
    let wired = Snapshot::take(&node.pod).unwrap();

    let mut ours = ours(&network);
    assert_eq!(node.runtime.add(&ours, &eth0, Some(&result)).unwrap(), result);
    assert_eq!(wired.changes(&Snapshot::take(&node.pod).unwrap()), Vec::<String>::new());
    assert_eq!(node.ports().len(), 1);

    // What a tap is made with cannot change under a VM.
    ours.set("netagent", "queues", 4);
    let refused = super::refusal(node.runtime.add(&ours, &eth0, Some(&result)));
    assert_eq!(refused.code(), Some(101), "{refused}");
    assert!(refused.text().contains("queues 2 instead of 4"), "{refused}");
    assert_eq!(node.port("eth0")["tap"]["queues"], 2);
    // Nor has that changed what was asked for.
    node.runtime.check(&super::ours(&network), &eth0, &result).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn check_finds_what_is_not_as_add_left_it() {
    require_plugins!();
    let node = Node::new();
    let network = node.documented("pods");
    let eth0 = pod_of(CONTAINER, &node.pod);
    let result = node.runtime.add(&network, &eth0, None).unwrap();
    let ours = ours(&network);
    node.runtime.check(&ours, &eth0, &result).unwrap();

    let mut other_mac = result.clone();
    other_mac["interfaces"][2]["mac"] = json!("02:00:00:00:00:01");
    let mut other_address = result.clone();
    other_address["ips"][0]["address"] = json!("10.88.0.250/24");
    for (other, word) in [(other_mac, "02:00:00:00:00:01"), (other_address, "10.88.0.250")] {
        let refused = super::refusal(node.runtime.check(&ours, &eth0, &other));
        assert_eq!(refused.code(), Some(103), "{refused}");
        assert!(refused.text().contains(word), "{refused}");
    }

    let port = node.port("eth0");
    let id = port["id"].as_str().unwrap();
    assert_eq!(node.agent.json(&["detach", id]).unwrap()["detached"], json!([id]));
    let refused = super::refusal(node.runtime.check(&ours, &eth0, &result));
    assert_eq!(refused.code(), Some(103), "{refused}");
    assert!(refused.text().contains("no port"), "{refused}");
    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn del_finds_the_port_when_the_namespace_is_gone() {
    require_plugins!();
    let node = Node::new();
    let network = node.documented("pods");
    let mut eth0 = pod_of(CONTAINER, &node.pod);
    let result = node.runtime.add(&network, &eth0, None).unwrap();
    // Somebody else's ports are not found by the same name: of another sandbox, or not asked for by CNI.
    let ours = ours(&network);
    let other = pod_of("ffffffffffff", &node.pod);
    node.runtime.del(&ours, &other, Some(&result)).unwrap();
    assert_eq!(node.ports().len(), 1);

    node.node.exec_ok(&["ip", "netns", "del", node.pod.name()]).unwrap();
    eth0.netns.clear();
    node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    assert_eq!(node.ports(), Vec::<serde_json::Value>::new());
    assert_eq!(crate::traces::of_ports(&node.agent).unwrap(), Vec::<String>::new());
    assert!(!std::path::Path::new(scene::path(&node.pod).unwrap()).exists());
}
