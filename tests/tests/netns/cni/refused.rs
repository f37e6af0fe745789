// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is refused, in CNI's own way: one JSON object with a number, and nothing changed.

use netagent_tests::cni_runtime::{Attachment, Network};
use serde_json::{Value, json};

use super::{CONTAINER, Node, pod_of, refusal, require_plugins};
use crate::snapshot::Snapshot;

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_foreign_tap_in_the_way_fails_the_pod_and_stays() {
    require_plugins!();
    let node = Node::new();
    node.pod.ip("tuntap add dev tap0 mode tap").unwrap();
    let before = Snapshot::take(&node.pod).unwrap();
    let network = node.documented("pods");
    let eth0 = pod_of(CONTAINER, &node.pod);
    let refused = refusal(node.runtime.add(&network, &eth0, None));
    assert_eq!((refused.code(), refused.plugin.as_str()), (Some(100), "netagent"), "{refused}");
    assert!(refused.text().contains("tap0 exists and was not made by netagent"), "{refused}");
    assert_eq!(node.ports(), Vec::<Value>::new());
    node.runtime.del(&network, &eth0, None).unwrap();
    node.assert_nothing_left(&before);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_no_add_is_served_with_is_no_reason_to_refuse_a_del() {
    require_plugins!();
    let node = Node::new();
    let before = Snapshot::take(&node.pod).unwrap();
    let eth0 = pod_of(CONTAINER, &node.pod);
    for (key, value, code, words) in [
        ("queue", json!(4), 2, vec!["`queue` = 4", "did you mean `queues`?"]),
        ("queues", json!("4"), 7, vec!["`queues` = \"4\"", "1 to 256"]),
        ("owner", json!("qemu"), 7, vec!["`owner` = \"qemu\"", "107:107"]),
        ("mode", json!("nat"), 7, vec!["`mode` = \"nat\""]),
        ("dhcp", json!({ "dnss": [] }), 2, vec!["`dhcp.dnss` = []", "did you mean `dhcp.dns`?"]),
    ] {
        let mut network = node.documented("pods");
        network.set("netagent", key, value);
        let refused = refusal(node.runtime.add(&network, &eth0, None));
        assert_eq!(refused.code(), Some(code), "{key}: {refused}");
        for word in words {
            assert!(refused.text().contains(word), "{key}: {refused} should say {word}");
        }
        node.runtime.del(&network, &eth0, None).unwrap();
        node.assert_nothing_left(&before);
    }
}

/// Any input ends in one JSON object, an exit code of 1, and nothing else on standard output.
#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn garbage_gets_an_error_and_changes_nothing() {
    require_plugins!();
    let node = Node::new();
    let before = Snapshot::take(&node.pod).unwrap();
    let eth0 = Attachment::new(CONTAINER, &node.pod);
    let conf = |more: &str| {
        let socket = node.agent.socket();
        format!(r#"{{"cniVersion":"1.0.0","name":"x","type":"netagent","socket":{socket:?}{more}}}"#)
    };
    let (chained, alone) = (conf(r#","prevResult":{}"#), conf(""));
    let deep = "[".repeat(200_000);
    let long = format!("{}{}", " ".repeat(1 << 20), chained);
    let with = |change: fn(&mut Attachment)| {
        let mut changed = eth0.clone();
        change(&mut changed);
        changed
    };
    let host = with(|one| "/proc/self/ns/net".clone_into(&mut one.netns));
    let file = with(|one| "/etc/hostname".clone_into(&mut one.netns));
    let missing = with(|one| "/run/netns/natest-not-there".clone_into(&mut one.netns));
    let nowhere = with(|one| one.netns.clear());
    let slash = with(|one| "../x".clone_into(&mut one.container));
    let name = with(|one| "a/b".clone_into(&mut one.ifname));
    let no_args = with(|one| "K8S_POD_NAME".clone_into(&mut one.args));
    let odd_pod = with(|one| "K8S_POD_NAME=a b".clone_into(&mut one.args));
    let cases: [(&str, &Attachment, &str, u64, &str); 19] = [
        ("ADD", &eth0, "", 6, "no JSON"),
        ("ADD", &eth0, "\u{0}\u{1}", 6, "no JSON"),
        ("ADD", &eth0, "[]", 6, "no JSON"),
        ("ADD", &eth0, &deep, 6, "no JSON"),
        ("DEL", &eth0, &long, 6, "more than 1048576 bytes"),
        ("ADD", &eth0, "{}", 1, "netagent speaks 0.3.1, 0.4.0, 1.0.0, 1.1.0"),
        ("ADD", &eth0, r#"{"cniVersion":"0.2.0","name":"x"}"#, 1, "`0.2.0`"),
        ("ADD", &eth0, r#"{"cniVersion":"1.0.0","name":"../x"}"#, 7, "`name`"),
        ("ADD", &eth0, &alone, 7, "`prevResult` is missing"),
        ("CHECK", &eth0, r#"{"cniVersion":"0.3.1","name":"x"}"#, 1, "CHECK came with cniVersion 0.4.0"),
        ("FROB", &eth0, &chained, 4, "CNI_COMMAND `FROB`"),
        ("ADD", &host, &chained, 4, "node's own network namespace"),
        ("ADD", &file, &chained, 4, "/etc/hostname is not a network namespace"),
        ("ADD", &missing, &chained, 4, "no network namespace at"),
        ("ADD", &nowhere, &chained, 4, "CNI_NETNS is not set"),
        ("DEL", &slash, &chained, 4, "CNI_CONTAINERID `../x`"),
        ("DEL", &name, &chained, 4, "CNI_IFNAME `a/b`"),
        ("ADD", &no_args, &chained, 4, "CNI_ARGS `K8S_POD_NAME` has no `=`"),
        ("ADD", &odd_pod, &chained, 4, "CNI_ARGS pod name `a b`"),
    ];
    for (command, attachment, input, code, word) in cases {
        let shown = input.get(..60).unwrap_or(input);
        let done = node.runtime.call(command, "netagent", Some(attachment), input.as_bytes()).unwrap();
        assert_eq!(done.code, 1, "{command} {shown}: {done:?}");
        let error: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(error["code"], code, "{command} {shown}: {error}");
        let text = format!("{} | {}", error["msg"], error["details"]);
        assert!(text.contains(word), "{command} {shown}: {text} should say {word}");
        assert!(done.stdout.len() < 4096, "{command} {shown}");
    }
    node.assert_nothing_left(&before);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn version_is_told_to_whoever_asks() {
    require_plugins!();
    let node = Node::new();
    for (input, spoken) in [
        (r#"{"cniVersion":"1.0.0"}"#, "1.0.0"),
        (r#"{"cniVersion":"9.9.9"}"#, "9.9.9"),
        ("", "1.1.0"),
        ("garbage", "1.1.0"),
    ] {
        let done = node.runtime.call("VERSION", "netagent", None, input.as_bytes()).unwrap();
        assert_eq!(done.code, 0, "{done:?}");
        let said: Value = serde_json::from_str(&done.stdout).unwrap();
        let all = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
        assert_eq!(said, json!({ "cniVersion": spoken, "supportedVersions": all }));
    }
    // By the verb, too, and then a command has to be named.
    let done = node.agent.cli(&["cni"]).unwrap();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("CNI_COMMAND is not set"), "{done:?}");
    let _: Network = node.documented("pods");
}
