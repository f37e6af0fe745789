// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whom the guest routes to: the pod's IPv6 gateways by the link-local addresses for which they answer.

use anyhow::Context as _;
use netagent_tests::{
    agent::Agent,
    ethtool,
    netns::Netns,
    poll,
    stand_in::GUEST_LINK,
    topology::{GATEWAY6, HOST_LINK, Layout, POD_LINK, Pod},
};
use serde_json::{Value, json};

use crate::{
    require_netns,
    scene::{SOON, Scene},
};

fn pod(layout: Layout) -> Pod {
    Pod { layout, ..Pod::default() }
}

/// The link-local addresses of a device.
fn link_local(netns: &Netns, link: &str) -> Vec<String> {
    let shown = netns.ip_json(&format!("-6 address show dev {link} scope link")).unwrap();
    let addresses = shown.pointer("/0/addr_info").and_then(Value::as_array).unwrap();
    addresses.iter().filter_map(|a| a["local"].as_str()).map(str::to_owned).collect()
}

fn routers(port: &Value) -> &Value {
    &port["guest"]["routers"]
}

fn warnings(port: &Value) -> Vec<&str> {
    port["datapath"]["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// Waits for routers: a machine that is busy may need more than one try.
fn wait_routers(scene: &Scene, wanted: &Value) -> Value {
    scene.wait_port(&format!("the routers {wanted}"), |port| routers(port) == wanted).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_global_gateway_is_known_by_its_link_local_address() {
    require_netns!();
    for (layout, routes) in [(Layout::Ptp, json!(["fd00:88::/64"])), (Layout::Subnet, json!([]))] {
        let scene = Scene::with(pod(layout), Agent::builder()).unwrap();
        let node = link_local(scene.node(), HOST_LINK);
        assert_eq!(node.len(), 1, "{node:?}");
        scene.attach(&[]).unwrap();
        let wanted = json!([{ "link_local": node[0], "default_route": true, "routes": routes }]);
        let port = wait_routers(&scene, &wanted);
        assert_eq!(warnings(&port), Vec::<&str>::new());
        assert_eq!(scene.plan(&[]).unwrap(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_router_is_found_past_our_own_programs_and_again_after_a_restart() {
    require_netns!();
    for (tier, without_tcx) in
        [("peer", false), ("plain", false), ("peer", true), ("plain", true), ("xdp", false)]
    {
        let builder = Agent::builder();
        let builder = if without_tcx { builder.arg("--without").arg("tcx") } else { builder };
        let mut scene = Scene::with(Pod::default(), builder).unwrap();
        if tier == "xdp" {
            quiet(&scene);
        }
        let node = link_local(scene.node(), HOST_LINK).remove(0);
        let wanted = json!([{ "link_local": node, "default_route": true, "routes": ["fd00:88::/64"] }]);
        scene.attach(&["--tier", tier]).unwrap();
        wait_routers(&scene, &wanted);
        scene.agent.kill9().unwrap();
        scene.agent.start().unwrap();
        let port = wait_routers(&scene, &wanted);
        assert_eq!(port["datapath"]["tier"], tier);
        assert_eq!(warnings(&port), Vec::<&str>::new());

        // Another gateway, behind programs that let nothing of the pod's own stack out.
        if tier != "xdp" {
            scene.node().ip(&format!("address add fd00:88::2/128 dev {HOST_LINK} nodad")).unwrap();
            scene.pod().ip(&format!("route add fd00:88::2/128 dev {POD_LINK}")).unwrap();
            scene.pod().ip(&format!("route add fd00:99::/64 via fd00:88::2 dev {POD_LINK}")).unwrap();
            let both = scene.wait_port("the other gateway's route", |port| {
                let routes = port.pointer("/guest/routers/0/routes").and_then(Value::as_array);
                routes.is_some_and(|routes| routes.contains(&json!("fd00:99::/64")))
            });
            assert_eq!(
                routers(&both.unwrap()).as_array().map(Vec::len),
                Some(1),
                "one router, two addresses"
            );
        }
    }
}

/// As the obstacles of tier `xdp` want the node's end.
fn quiet(scene: &Scene) {
    const QUIET: [(&str, bool); 5] = [
        ("tx-checksum-ip-generic", false),
        ("tx-checksum-sctp", false),
        ("tx-vlan-hw-insert", false),
        ("tx-vlan-stag-hw-insert", false),
        ("rx-gro", true),
    ];
    ethtool::switch(scene.node(), HOST_LINK, &QUIET).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_router_with_another_address_than_its_mac_makes_is_found() {
    require_netns!();
    let scene = Scene::with(pod(Layout::Subnet), Agent::builder()).unwrap();
    for address in link_local(scene.node(), HOST_LINK) {
        scene.node().ip(&format!("address del {address}/64 dev {HOST_LINK}")).unwrap();
    }
    scene.node().ip(&format!("address add fe80::abcd/64 dev {HOST_LINK} nodad")).unwrap();
    scene.attach(&[]).unwrap();
    wait_routers(&scene, &json!([{ "link_local": "fe80::abcd", "default_route": true, "routes": [] }]));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_gateway_without_one_is_warned_of_and_found_when_it_has_one() {
    require_netns!();
    let scene = Scene::with(pod(Layout::Subnet), Agent::builder()).unwrap();
    let node = link_local(scene.node(), HOST_LINK).remove(0);
    scene.node().ip(&format!("address del {node}/64 dev {HOST_LINK}")).unwrap();
    let port = scene.attach(&[]).unwrap();
    assert_eq!(routers(&port), &json!([]));
    let warned = warnings(&port);
    assert!(warned.len() == 1 && warned[0].contains(&GATEWAY6.to_string()), "{warned:?}");
    // Nothing happens in the pod's namespace; the port asks again by itself.
    scene.node().ip(&format!("address add {node}/64 dev {HOST_LINK} nodad")).unwrap();
    let port = wait_routers(&scene, &json!([{ "link_local": node, "default_route": true, "routes": [] }]));
    assert_eq!(warnings(&port), Vec::<&str>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_link_local_gateway_is_the_router_and_a_pod_without_one_has_none() {
    require_netns!();
    let scene = Scene::new().unwrap();
    // It need not even answer.
    scene.pod().ip(&format!("-6 route replace default via fe80::7 dev {POD_LINK}")).unwrap();
    scene.pod().ip("-6 route del fd00:88::/64").unwrap();
    let port = scene.attach(&[]).unwrap();
    let wanted = json!([{ "link_local": "fe80::7", "default_route": true, "routes": [] }]);
    assert_eq!(routers(&port), &wanted);
    assert_eq!(warnings(&port), Vec::<&str>::new());
    scene.pod().ip("-6 route del default").unwrap();
    wait_routers(&scene, &json!([]));

    let scene = Scene::with(Pod { ipv6: false, ..Pod::default() }, Agent::builder()).unwrap();
    let port = scene.attach(&[]).unwrap();
    assert_eq!((routers(&port), warnings(&port)), (&json!([]), Vec::new()));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_router_that_went_while_the_agent_was_away_is_taken_back() {
    require_netns!();
    let mut scene = Scene::with(pod(Layout::LinkLocalGateway), Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    guest.guest.sysctl(&format!("ipv6/conf/{GUEST_LINK}/accept_ra"), "2").unwrap();
    let wait_gateways = |wanted: &[&str]| {
        let mut last = Vec::new();
        let what = format!("the guest to be routed by {wanted:?} alone");
        poll::try_until(&what, SOON, || {
            let routes = guest.guest.ip_json(&format!("-6 route show default dev {GUEST_LINK}"))?;
            let routes = routes.as_array().context("no list of routes")?.clone();
            // Several routers of one destination are one route.
            let hops = |route: &Value| match route["nexthops"].as_array() {
                Some(hops) => hops.clone(),
                None => vec![route.clone()],
            };
            last = routes
                .iter()
                .flat_map(hops)
                .filter_map(|h| Some(h["gateway"].as_str()?.to_owned()))
                .collect();
            Ok((last == wanted).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}: it has {last:?}"));
    };
    wait_gateways(&["fe80::1"]);

    scene.agent.kill9().unwrap();
    scene.node().ip(&format!("address add fe80::2/64 dev {HOST_LINK} nodad")).unwrap();
    scene.pod().ip(&format!("-6 route replace default via fe80::2 dev {POD_LINK}")).unwrap();
    scene.agent.start().unwrap();
    wait_gateways(&["fe80::2"]);
}
