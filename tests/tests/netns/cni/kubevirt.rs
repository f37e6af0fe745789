// SPDX-License-Identifier: MIT OR Apache-2.0
//! As KubeVirt's binding plugin, called by Multus: the networks first, then the plugin once for each, in the VM's order.

use netagent_tests::cni_runtime::Network;
use serde_json::json;

use super::{CONTAINER, Node, address, pod_of, require_plugins};
use crate::snapshot::Snapshot;

/// Of a secondary network that the VM's spec calls `red`.
const RED_LINK: &str = "podb1f51a511f1";
const RED_TAP: &str = "tapb1f51a511f1";

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn each_network_of_a_vm_gets_the_tap_that_kubevirt_looks_for() {
    require_plugins!();
    let node = Node::new();
    let before = Snapshot::take(&node.pod).unwrap();
    let mut cluster = node.documented("pods");
    cluster.plugins.truncate(1);
    let red = Network::read(
        r#"{ "cniVersion": "1.0.0", "name": "red-nad", "type": "bridge", "bridge": "br-red", "isGateway": true,
             "ipam": { "type": "host-local", "subnet": "10.99.0.0/24" } }"#,
    );
    let red = node.here(red.unwrap());
    let binding = |network: &str| {
        let mut binding = node.documented("netagent");
        binding.set("netagent", "args", json!({ "cni": { "logicNetworkName": network } }));
        binding
    };
    let pod = pod_of(CONTAINER, &node.pod);
    let links = [pod.clone(), pod.clone().ifname(RED_LINK)];
    let calls = [pod.clone().ifname("net1"), pod.ifname("net2")];

    let main = node.runtime.add(&cluster, &links[0], None).unwrap();
    let primary = node.runtime.add(&binding("default"), &calls[0], None).unwrap();
    let second = node.runtime.add(&red, &links[1], None).unwrap();
    let secondary = node.runtime.add(&binding("red"), &calls[1], None).unwrap();
    assert_eq!((primary, secondary), (json!({ "cniVersion": "1.0.0" }), json!({ "cniVersion": "1.0.0" })));

    for (link, tap, result, gateway) in
        [("eth0", "tap0", &main, "10.88.0.1"), (RED_LINK, RED_TAP, &second, "10.99.0.1")]
    {
        let port = node.port(link);
        assert_eq!((&port["tap"]["ifname"], &port["tap"]["owner"]), (&json!(tap), &json!("107:107")));
        let shown = node.pod.ip_json(&format!("link show {tap}")).unwrap();
        // By numbers: `ip` shows the names that a machine happens to have for them.
        let owners = [format!("/sys/class/net/{tap}/owner"), format!("/sys/class/net/{tap}/group")];
        let read = ["ip", "netns", "exec", node.pod.name(), "cat", &owners[0], &owners[1]];
        assert_eq!(node.node.exec_ok(&read).unwrap(), "107\n107\n");
        assert_eq!((&shown[0]["mtu"], shown[0]["flags"].to_string().contains("UP")), (&json!(1500), true));
        let guest = node.guest(&port);
        node.talks(&guest, &address(result), gateway);
    }
    // One link of such a name and KubeVirt takes the whole VM to have the names of its first years.
    let all = node.pod.ip_json("link show").unwrap();
    let names: Vec<_> = all.as_array().unwrap().iter().filter_map(|link| link["ifname"].as_str()).collect();
    assert!(!names.iter().any(|name| name.starts_with("net")), "{names:?}");

    for (network, call) in [("red", &calls[1]), ("default", &calls[0])] {
        node.runtime.del(&binding(network), call, None).unwrap();
    }
    assert_eq!(node.ports(), Vec::<serde_json::Value>::new());
    node.runtime.del(&red, &links[1], Some(&second)).unwrap();
    node.runtime.del(&cluster, &links[0], Some(&main)).unwrap();
    node.assert_nothing_left(&before);
}
