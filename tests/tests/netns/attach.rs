// SPDX-License-Identifier: MIT OR Apache-2.0
//! What attach makes: the port's JSON, and in the pod one tap and three programs, nothing else.

use netagent_tests::{
    agent::Agent,
    attached,
    topology::{HOST_LINK, POD_LINK, Pod},
};
use serde_json::{Value, json};

use crate::{
    require_netns,
    scene::{HOSTNAME, SOON, Scene, TAP, path},
    snapshot::Snapshot,
};

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_port_has_the_fields_of_the_contract() {
    require_netns!();
    let pod = Pod { mtu: 1450, ..Pod::default() };
    let scene = Scene::with(pod, Agent::builder()).unwrap();
    let port = scene.attach(&["--queues", "2", "--owner", "107:108"]).unwrap();

    let links = scene.pod().ip_json("link show").unwrap();
    let link = |name: &str| links.as_array().unwrap().iter().find(|l| l["ifname"] == name).unwrap();
    let mac = scene.topology.pod_mac().unwrap();
    let inode =
        std::fs::metadata(scene.pod().path()).map(|m| std::os::unix::fs::MetadataExt::ino(&m)).unwrap();
    assert_eq!(port["id"], format!("{inode}-{POD_LINK}"));
    assert_eq!(port["netns"], path(scene.pod()).unwrap());
    assert_eq!((&port["state"], &port["reason"]), (&json!("ready"), &json!("")));
    assert_eq!(
        port["pod_link"],
        json!({"ifname": POD_LINK, "ifindex": link(POD_LINK)["ifindex"], "mac": mac, "mtu": 1450})
    );
    assert_eq!(
        port["tap"],
        json!({
            "ifname": TAP,
            "ifindex": link(TAP)["ifindex"],
            "mac": link(TAP)["address"],
            "mtu": 1450,
            "queues": 2,
            "owner": "107:108",
        })
    );
    assert_eq!(port["guest"]["mac"], mac);
    assert_eq!(port["guest"]["gateway"], "10.88.0.1");
    let addresses = port["guest"]["addresses"].to_string();
    assert!(addresses.contains("10.88.0.5/") && addresses.contains("fd00:88::5/"), "{addresses}");
    let routes = port["guest"]["routes"].as_array().unwrap();
    for route in [
        json!({"destination": "10.88.0.1/32", "gateway": ""}),
        json!({"destination": "10.88.0.0/24", "gateway": "10.88.0.1"}),
        json!({"destination": "0.0.0.0/0", "gateway": "10.88.0.1"}),
        json!({"destination": "::/0", "gateway": "fd00:88::1"}),
    ] {
        assert!(routes.contains(&route), "{route} is not in {routes:?}");
    }
    assert_eq!(
        port["guest"]["dns"],
        json!({"servers": ["10.96.0.10"], "search": ["default.svc.cluster.local", "svc.cluster.local"]})
    );
    assert_eq!(port["guest"]["hostname"], HOSTNAME);
    assert_eq!((&port["datapath"]["tier"], &port["datapath"]["hook"]), (&json!("peer"), &json!("tcx")));
    assert_ne!(port["datapath"]["reason"], "");
    for count in ["from_vm", "to_vm"] {
        assert!(port["counters"][count]["packets"].is_u64(), "{port}");
        assert!(port["counters"][count]["bytes"].is_u64(), "{port}");
    }
    assert!(port["counters"]["drops"].is_object(), "{port}");
    for field in ["lease", "last", "messages"] {
        assert!(!port["dhcp"][field].is_null(), "{port}");
    }

    // The same port by its id, in the list, and as the kernel has its tap.
    let id = port["id"].as_str().unwrap();
    assert_eq!(scene.agent.json(&["show", id]).unwrap()["tap"], port["tap"]);
    let all = scene.agent.json(&["status"]).unwrap();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(all[0]["id"], id);
    let tap = link(TAP);
    assert_eq!(tap["mtu"], 1450);
    assert_eq!(tap["qdisc"], "noqueue");
    let tun = &tap["linkinfo"]["info_data"];
    assert_eq!(tun["type"], "tap", "{tun}");
    assert_eq!(
        (&tun["multi_queue"], &tun["vnet_hdr"], &tun["persist"]),
        (&true.into(), &true.into(), &true.into())
    );
    assert!(is(&tun["user"], "107") && is(&tun["group"], "108"), "{tun}");
}

/// `ip` prints a name where the system has one.
fn is(shown: &Value, id: &str) -> bool {
    let file = |name| std::fs::read_to_string(name).unwrap_or_default();
    let text = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
    text == id
        || file("/etc/passwd").lines().chain(file("/etc/group").lines()).any(|line| {
            let mut fields = line.split(':');
            fields.next() == Some(&text) && fields.nth(1) == Some(id)
        })
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn only_our_programs_are_added_and_the_pod_keeps_what_it_had() {
    require_netns!();
    for without in [None, Some("tcx")] {
        let mut builder = Agent::builder();
        if let Some(feature) = without {
            builder = builder.arg("--without").arg(feature);
        }
        let scene = Scene::with(Pod::default(), builder).unwrap();
        let (pod, node) = (Snapshot::take(scene.pod()).unwrap(), Snapshot::take(scene.node()).unwrap());
        scene.attach(&[]).unwrap();
        let wired = Snapshot::take(scene.pod()).unwrap();

        let hook = if without.is_some() { "clsact" } else { "tcx" };
        let programs: Vec<_> = attached::programs(scene.pod())
            .unwrap()
            .into_iter()
            .map(|one| (one.link, one.hook, one.program))
            .collect();
        let expected =
            [(POD_LINK, "egress", "from_pod"), (POD_LINK, "ingress", "to_vm"), (TAP, "ingress", "from_vm")];
        assert_eq!(
            programs,
            expected.map(|(l, side, p)| (l.to_owned(), format!("{hook}/{side}"), p.to_owned()))
        );

        // The links that were there are the same, byte for byte, and the tap is the only new one.
        let before = pod.part("links").unwrap().as_array().unwrap();
        let after = wired.part("links").unwrap().as_array().unwrap();
        let (taps, rest): (Vec<_>, Vec<_>) = after.iter().partition(|l| l["ifname"] == TAP);
        assert_eq!(rest, before.iter().collect::<Vec<_>>());
        assert_eq!(taps.len(), 1);
        assert!(taps.iter().all(|tap| tap["linkinfo"]["info_kind"] == "tun"), "{taps:?}");
        for part in ["-4 routes", "-6 routes", "-4 rules", "-6 rules", "nftables"] {
            assert_eq!(wired.part(part).unwrap(), pod.part(part).unwrap(), "{part}");
        }
        assert_eq!(wired.part("nftables").unwrap(), &json!([]));
        let addresses = |s: &Snapshot| -> Vec<Value> {
            let links = s.part("addresses").unwrap().as_array().unwrap().clone();
            links.into_iter().filter(|l| l["addr_info"].as_array().is_some_and(|a| !a.is_empty())).collect()
        };
        assert_eq!(addresses(&wired), addresses(&pod));
        let tables = |netns: &netagent_tests::netns::Netns| {
            let names = ["ip_tables_names", "ip6_tables_names"].map(|name| {
                netns.exec(&["cat", &format!("/proc/net/{name}")]).map(|done| done.stdout).unwrap_or_default()
            });
            names.concat()
        };
        assert_eq!(tables(scene.pod()), "");
        // On the node nothing at all has happened.
        assert_eq!(node.changes(&Snapshot::take(scene.node()).unwrap()), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn tiers_and_hooks_that_the_kernel_lacks_are_refused_or_replaced_with_the_reason() {
    require_netns!();
    let builder = Agent::builder().arg("--without").arg("redirect-peer").arg("--without").arg("tcx");
    let scene = Scene::with(Pod::default(), builder).unwrap();
    let before = Snapshot::take(scene.pod()).unwrap();

    let refused = scene.try_attach(&["--tier", "peer"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("tier peer is not possible"), "{}", refused.stderr);
    assert!(refused.stderr.contains("bpf_redirect_peer"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--tier plain"), "{}", refused.stderr);
    assert_eq!(before.changes(&Snapshot::take(scene.pod()).unwrap()), Vec::<String>::new());

    let port = scene.attach(&[]).unwrap();
    assert_eq!((&port["datapath"]["tier"], &port["datapath"]["hook"]), (&json!("plain"), &json!("clsact")));
    assert_eq!(
        port["datapath"]["reason"],
        "the kernel lacks bpf_redirect_peer (5.10); proved: 10.88.0.1 answered"
    );
    let status = scene.agent.cli(&["status"]).unwrap();
    assert!(status.stdout.contains("plain") && status.stdout.contains("clsact"), "{}", status.stdout);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_link_without_a_distant_peer_is_wired_plain_with_the_reason() {
    require_netns!();
    let scene = Scene::new().unwrap();
    // Both ends in the pod: redirect_peer would leave the namespace of neither.
    scene.pod().ip("link add near0 type veth peer name near1").unwrap();
    scene.pod().ip("link set near1 up").unwrap();
    scene.pod().ip("link set near0 up").unwrap();
    scene.pod().ip("address add 10.99.0.2/24 dev near0").unwrap();
    let port = scene.attach(&["--pod-link", "near0", "--tap", "tap1"]).unwrap();
    assert_eq!(port["datapath"]["tier"], "plain");
    assert_eq!(
        port["datapath"]["reason"],
        "the peer of near0 is in the same namespace; unproved: the pod has no gateway to ask"
    );
    let refused = scene.try_attach(&["--pod-link", "near0", "--tap", "tap1", "--tier", "peer"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("same namespace"), "{}", refused.stderr);
    // The refusal did not harm the port that is there.
    let id = port["id"].as_str().unwrap();
    netagent_tests::poll::try_until("the port to be ready", SOON, || {
        Ok((scene.agent.json(&["show", id])?["state"] == "ready").then_some(()))
    })
    .unwrap();
    assert!(scene.node().ip_json(&format!("link show {HOST_LINK}")).is_ok());
}
