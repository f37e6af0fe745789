// SPDX-License-Identifier: MIT OR Apache-2.0
//! In place of tc-redirect-tap: who starts the VM reads tap and card from the result.

use netagent_tests::{cni_runtime::Attachment, topology::link_mac};
use serde_json::{Value, json};

use super::{CONTAINER, Node, address, require_plugins};
use crate::snapshot::Snapshot;

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_result_has_tap_and_card_as_tc_redirect_tap_gives_them() {
    require_plugins!();
    for (plugin, args, owner) in [
        ("tc-redirect-tap", "IgnoreUnknown=1;TC_REDIRECT_TAP_NAME=tap7;TC_REDIRECT_TAP_UID=123", "123:0"),
        ("tc-redirect-tap", "", "0:0"),
        ("netagent", "", "-:-"),
    ] {
        let node = Node::new();
        let before = Snapshot::take(&node.pod).unwrap();
        let mut network = node.documented("fcnet");
        network.set("tc-redirect-tap", "type", plugin);
        let mut eth0 = Attachment::new(CONTAINER, &node.pod);
        args.clone_into(&mut eth0.args);
        let result = node.runtime.add(&network, &eth0, None).unwrap();
        assert_pair(&node, &eth0, &result);
        let port = node.port("eth0");
        assert_eq!(port["tap"]["owner"], owner);
        assert_eq!(port["tap"]["ifname"], if args.is_empty() { "tap0" } else { "tap7" });
        node.runtime.check(&network, &eth0, &result).unwrap();

        let guest = node.guest(&port);
        let leased = node.talks(&guest, &address(&result), "192.168.127.1");
        // No kubelet writes a resolv.conf here: what the plugin before says is what the guest is told.
        assert_eq!(leased.dns, ["192.168.127.1".parse::<std::net::Ipv4Addr>().unwrap()]);
        drop(guest);

        let mut other = result.clone();
        let card = other["interfaces"].as_array().unwrap().len() - 1;
        other["interfaces"][card]["mac"] = json!("02:00:00:00:00:01");
        let refused = super::refusal(node.runtime.check(&network, &eth0, &other));
        assert_eq!((refused.code(), refused.plugin.as_str()), (Some(103), plugin), "{refused}");

        node.runtime.del(&network, &eth0, Some(&result)).unwrap();
        node.assert_nothing_left(&before);
    }
}

/// What firecracker-go-sdk's `vmconf` looks for, done as it does it.
fn assert_pair(node: &Node, eth0: &Attachment, result: &Value) {
    let interfaces = result["interfaces"].as_array().unwrap();
    let in_vm: Vec<_> = interfaces.iter().filter(|one| one["sandbox"] == CONTAINER).collect();
    assert_eq!(in_vm.len(), 1, "{result}");
    let card = in_vm[0];
    let taps: Vec<_> =
        interfaces.iter().filter(|one| one["name"] == card["name"] && one["sandbox"] != CONTAINER).collect();
    assert_eq!(taps.len(), 1, "{result}");
    let tap = taps[0];
    assert_eq!(tap["sandbox"], eth0.netns.as_str());
    assert_eq!(tap["mac"], link_mac(&node.pod, tap["name"].as_str().unwrap()).unwrap().as_str());
    assert_eq!(card["mac"], link_mac(&node.pod, "eth0").unwrap().as_str());

    let of = |name: &Value, sandbox: &str| -> Vec<&Value> {
        let ips = result["ips"].as_array().unwrap().iter();
        ips.filter(|ip| {
            let one = &interfaces[usize::try_from(ip["interface"].as_u64().unwrap()).unwrap()];
            one["name"] == *name && one["sandbox"] == sandbox
        })
        .collect()
    };
    let (cards, pods) = (of(&card["name"], CONTAINER), of(&json!("eth0"), &eth0.netns));
    assert_eq!((cards.len(), pods.len()), (1, 1), "{result}");
    for key in ["address", "gateway"] {
        assert!(cards[0][key].is_string());
        assert_eq!(cards[0][key], pods[0][key]);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn results_are_written_in_the_version_that_is_spoken() {
    require_plugins!();
    let node = Node::new();
    let mut network = node.documented("fcnet");
    let eth0 = Attachment::new(CONTAINER, &node.pod);
    for (version, has_family) in [("0.3.1", true), ("0.4.0", true), ("1.0.0", false)] {
        version.clone_into(&mut network.version);
        let result = node.runtime.add(&network, &eth0, None).unwrap();
        assert_eq!(result["cniVersion"], version);
        for ip in result["ips"].as_array().unwrap() {
            assert_eq!(ip.get("version"), has_family.then(|| json!("4")).as_ref(), "{version}: {result}");
        }
        assert!(
            result["interfaces"].as_array().unwrap().iter().all(|one| one.get("mtu").is_none()),
            "{result}"
        );
        if version != "0.3.1" {
            node.runtime.check(&network, &eth0, &result).unwrap();
        }
        // The plugins of the package stop at 1.0.0: from there on it is ours alone that hears the newest.
        if version == "1.0.0" {
            let (mut newest, mut before) = (network.clone(), result.clone());
            "1.1.0".clone_into(&mut newest.version);
            newest.plugins.remove(0);
            before["interfaces"].as_array_mut().unwrap().truncate(2);
            before["ips"].as_array_mut().unwrap().truncate(1);
            let result = node.runtime.add(&newest, &eth0, Some(&before)).unwrap();
            assert_eq!(result["cniVersion"], "1.1.0");
            assert_eq!(
                (&result["interfaces"][2]["mtu"], &result["interfaces"][3]["mtu"]),
                (&json!(1500), &json!(1500))
            );
            node.runtime.check(&newest, &eth0, &result).unwrap();
        }
        node.runtime.del(&network, &eth0, Some(&result)).unwrap();
    }
}
