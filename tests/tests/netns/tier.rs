// SPDX-License-Identifier: MIT OR Apache-2.0
//! The choice of the tier by what is on the real devices, and what the pod's netfilter rules have to do with it.

use netagent_tests::{
    agent::Agent,
    bpf_stub::Stub,
    netns::Netns,
    topology::{GATEWAY4, HOST_LINK, POD_LINK, Pod},
};
use serde_json::Value;

use crate::{
    nft_chain::{ARP, DropChain, INET, NETDEV},
    require_netns,
    scene::{self, Scene, TAP, configure, ping_both_ways},
    traces,
};

fn reason(port: &Value) -> &str {
    port["datapath"]["reason"].as_str().unwrap()
}

/// Auto takes `plain` for this reason, and `peer` by name is refused for it.
fn assert_obstacle(scene: &Scene, flags: &[&str], obstacle: &str) -> Value {
    let refused = scene.try_attach(&[flags, &["--tier", "peer"]].concat()).unwrap();
    assert_eq!(refused.code, 1, "{obstacle}: {refused:?}");
    assert!(refused.stderr.contains("tier peer is not possible"), "{}", refused.stderr);
    assert!(refused.stderr.contains(obstacle), "{}", refused.stderr);
    assert_eq!(traces::of_ports(&scene.agent).unwrap(), Vec::<String>::new());
    let port = scene.attach(flags).unwrap();
    assert_eq!(port["datapath"]["tier"], "plain", "{port}");
    assert!(reason(&port).starts_with(obstacle), "{}", reason(&port));
    port
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn native_xdp_on_the_host_peer_is_an_obstacle_wherever_the_peer_is() {
    require_netns!();
    // In a namespace of its own, and in the agent's.
    for agent_beside_peer in [false, true] {
        let topology = Pod::default().build().unwrap();
        let mut builder = Agent::builder();
        if agent_beside_peer {
            builder = builder.netns(&topology.node);
        }
        let scene = Scene { agent: builder.start().unwrap(), topology };
        let stub = Stub::NativeXdpDrop.attach(scene.node(), HOST_LINK).unwrap();
        let port = assert_obstacle(&scene, &[], "the peer of eth0 has a native XDP program (id ");
        // The program drops what plain sends it.
        assert!(reason(&port).ends_with("unproved: 10.88.0.1 did not answer"), "{}", reason(&port));
        drop(stub);
        scene.detach().unwrap();
        assert_eq!(scene.attach(&[]).unwrap()["datapath"]["tier"], "peer");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn generic_xdp_on_the_host_peer_sees_what_peer_sends_and_not_what_plain_sends() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let _stub = Stub::GenericXdpDrop.attach(scene.node(), HOST_LINK).unwrap();
    // No obstacle: peer skips nothing of it. It drops all the same, so peer fails where plain does not.
    let port = scene.attach(&[]).unwrap();
    assert_eq!(port["datapath"]["tier"], "plain", "{port}");
    assert!(reason(&port).starts_with("peer failed its self-test: 10.88.0.1 answered"), "{}", reason(&port));
    let guest = scene.guest().unwrap();
    configure(&guest).unwrap();
    ping_both_ways(scene.node(), &guest.guest).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_sits_on_the_pod_links_egress_is_an_obstacle() {
    require_netns!();
    let tc = |scene: &Scene, arguments: &str| {
        let words: Vec<&str> = ["tc"].into_iter().chain(arguments.split(' ')).collect();
        scene.pod().exec_ok(&words).unwrap();
    };
    let scene = Scene::new().unwrap();
    tc(&scene, "qdisc add dev eth0 root handle 7: tbf rate 1gbit burst 1mb latency 50ms");
    assert_obstacle(&scene, &[], "eth0 has a tbf qdisc on egress, which peer would skip");

    let scene = Scene::new().unwrap();
    tc(&scene, "qdisc add dev eth0 clsact");
    tc(&scene, "filter add dev eth0 egress protocol ip prio 1 u32 match ip dst 203.0.113.9/32 classid 1:1");
    assert_obstacle(&scene, &[], "eth0 has a tc filter on egress, which peer would skip");

    let scene = Scene::new().unwrap();
    let _stub = Stub::TcxEgressNext.attach(scene.pod(), POD_LINK).unwrap();
    let port = assert_obstacle(&scene, &[], "eth0 has a tcx program on egress, which peer would skip");
    assert!(reason(&port).ends_with("proved: 10.88.0.1 answered"), "{}", reason(&port));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn pod_links_of_other_kinds_are_named_as_the_obstacle() {
    require_netns!();
    for (kind, add, obstacle) in [
        (
            "macvlan",
            "link add link vethpod name other0 type macvlan mode bridge",
            "other0 is macvlan, not a veth",
        ),
        ("ipvlan", "link add link vethpod name other0 type ipvlan mode l2", "other0 is ipvlan, not a veth"),
        (
            "netkit",
            "link add other0 type netkit mode l2 peer name other1",
            "other0 is netkit, whose policy programs peer would skip",
        ),
    ] {
        let scene = Scene::new().unwrap();
        let words: Vec<&str> = ["ip"].into_iter().chain(add.split(' ')).collect();
        let made = scene.node().exec(&words).unwrap();
        if made.code != 0 {
            // Only a kind that the kernel has not: anything else is a broken test.
            let lacks = ["Unknown device type", "not supported", "Garbage instead of arguments"];
            assert!(kind != "macvlan" && lacks.iter().any(|l| made.stderr.contains(l)), "{made:?}");
            eprintln!("this kernel or its `ip` has no {kind}: {}", made.stderr.trim());
            continue;
        }
        scene.node().ip(&format!("link set other0 netns {}", scene.pod().name())).unwrap();
        scene.pod().ip("link set other0 up").unwrap();
        scene.pod().ip("address add 10.99.0.2/24 dev other0").unwrap();
        assert_obstacle(&scene, &["--pod-link", "other0", "--tap", "tap1"], obstacle);
    }
}

/// The warnings with these words.
fn warnings<'a>(port: &'a Value, words: &str) -> Vec<&'a str> {
    let all = port["datapath"]["warnings"].as_array().unwrap();
    all.iter().filter_map(Value::as_str).filter(|warning| warning.contains(words)).collect()
}

/// A hook of every kind that a packet of the pod could meet.
fn everywhere() -> Vec<DropChain<'static>> {
    let chain = |family, hook, device| DropChain { family, hook, device };
    let mut chains = vec![
        chain(NETDEV, 0, Some(POD_LINK)),
        chain(NETDEV, 0, Some(TAP)),
        chain(NETDEV, 1, Some(POD_LINK)),
        chain(NETDEV, 1, Some(TAP)),
    ];
    chains.extend((0..5).map(|hook| chain(INET, hook, None)));
    chains.extend((0..2).map(|hook| chain(ARP, hook, None)));
    chains
}

fn pings(netns: &Netns, to: &str) -> bool {
    netns.exec(&["ping", "-n", "-c", "1", "-W", "1", to]).unwrap().code == 0
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn no_tier_passes_the_pods_netfilter_hooks_and_the_status_says_so() {
    require_netns!();
    for tier in ["plain", "peer"] {
        let scene = Scene::new().unwrap();
        let egress = DropChain { family: NETDEV, hook: 1, device: Some(POD_LINK) };
        assert!(pings(scene.pod(), &GATEWAY4.to_string()));
        egress.add(scene.pod()).unwrap();
        assert!(!pings(scene.pod(), &GATEWAY4.to_string()), "the chain on egress drops nothing");
        let port = scene.attach(&["--tier", tier]).unwrap();
        // The chain drops the question for the IPv6 router, too (`nf_hook_direct_egress`, net/packet/af_packet.c).
        assert_eq!(
            warnings(&port, "router"),
            [
                "no link-local address of the IPv6 gateway fd00:88::1 answers, so no router advertisement gives the guest \
              the routes through it; see that the gateway is up and has a link-local address, or set them in the guest"
            ]
        );
        assert_eq!(
            warnings(&port, "do not pass"),
            ["the guest's packets do not pass nftables table netdev drops"]
        );
        assert!(reason(&port).ends_with("proved: 10.88.0.1 answered"), "{}", reason(&port));

        let guest = scene.guest().unwrap();
        configure(&guest).unwrap();
        ping_both_ways(scene.node(), &guest.guest).unwrap();
        assert!(pings(scene.pod(), "127.0.0.1"));
        for chain in everywhere() {
            // The hook to the guest is passed by what is sent out of the tap; it is tried below.
            if chain.device != Some(TAP)
                && (chain.family, chain.hook, chain.device) != (NETDEV, 1, Some(POD_LINK))
            {
                chain.add(scene.pod()).unwrap();
            }
        }
        assert!(!pings(scene.pod(), "127.0.0.1"), "the chains of the IP stack drop nothing");
        ping_both_ways(scene.node(), &guest.guest).unwrap();
        for chain in everywhere().into_iter().filter(|chain| chain.device == Some(TAP)) {
            chain.add(scene.pod()).unwrap();
            ping_both_ways(scene.node(), &guest.guest).unwrap();
        }
        // Seen by the next look, here that of an attach that changes nothing.
        let again = scene.attach(&["--tier", tier]).unwrap();
        assert_eq!(warnings(&again, "do not pass").len(), 3, "{again}");
        let shown = scene.agent.cli(&["show", "--netns", scene::path(scene.pod()).unwrap()]).unwrap().stdout;
        assert!(shown.contains("nftables table inet drops"), "{shown}");
        assert!(scene.agent.log().contains("nftables table netdev drops"), "{}", scene.agent.log_tail());
    }
}
