// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest becomes the pod: real clients lease its address, and traffic passes both ways on every hook and tier.

use std::net::Ipv4Addr;

use netagent_tests::{
    agent::Agent,
    iperf::{self, Iperf},
    lease::{DhcpClient, Lease, LeaseRoute},
    stand_in::{GUEST_LINK, StandIn, StandInSpec},
    topology::{GATEWAY4, Layout, OUTSIDE4, POD4, PREFIX4, Pod},
};

use crate::{
    require_netns,
    scene::{HOSTNAME, Scene, TAP, configure_ipv6, is_pods, lease, number, ping, ping_both_ways, wait_ping},
};

/// Bytes of an Ethernet frame without segmentation offload: more on average proves that segments stayed whole.
const WHOLE_FRAME: u64 = 1514;

fn matrix(without_tcx: bool, tier: &str) {
    let mut builder = Agent::builder();
    if without_tcx {
        builder = builder.arg("--without").arg("tcx");
    }
    let scene = Scene::with(Pod::default(), builder).unwrap();
    let port = scene.attach(&["--tier", tier]).unwrap();
    assert_eq!(port["datapath"]["tier"], tier);
    assert_eq!(port["datapath"]["hook"], if without_tcx { "clsact" } else { "tcx" });

    let guest = scene.guest().unwrap();
    for client in [DhcpClient::Dhclient, DhcpClient::Udhcpc] {
        assert_identity(&lease(&guest, client).unwrap(), 1500);
    }
    configure_ipv6(&guest).unwrap();
    ping_both_ways(scene.node(), &guest.guest).unwrap();
    // Through the gateway, as everything beyond the pod's subnet.
    ping(&guest.guest, &OUTSIDE4.to_string()).unwrap();

    let log = scene.agent.dir().join("iperf3.log");
    let _server = iperf::server(&guest.guest, 5201, &log).unwrap();
    for (reverse, counter) in [(false, "to_vm"), (true, "from_vm")] {
        let before = scene.show().unwrap();
        let test = Iperf::to(POD4, 2);
        let test = if reverse { test.reverse() } else { test };
        let report = test.run(scene.node()).unwrap();
        assert!(report.received_bits_per_second() > 1e6, "{report:?}");
        let after = scene.show().unwrap();
        let grown = |field: &str| {
            let pointer = format!("/counters/{counter}/{field}");
            number(&after, &pointer).unwrap() - number(&before, &pointer).unwrap()
        };
        let average = grown("bytes") / grown("packets").max(1);
        assert!(average > WHOLE_FRAME, "{counter}: {average} bytes a frame: segments did not stay whole");
    }
    let port = scene.show().unwrap();
    assert_eq!(port["counters"]["drops"].get("malformed"), None, "{port}");
}

/// What the clients got is the pod's own.
fn assert_identity(lease: &Lease, mtu: u32) {
    assert!(is_pods(lease.address), "{lease:?}");
    assert_eq!(lease.dns, [Ipv4Addr::new(10, 96, 0, 10)], "{lease:?}");
    assert_eq!(lease.search, ["default.svc.cluster.local", "svc.cluster.local"], "{lease:?}");
    assert_eq!(lease.mtu, Some(mtu), "{lease:?}");
    assert_eq!(lease.hostname.as_deref(), Some(HOSTNAME), "{lease:?}");
    let default = LeaseRoute { network: Ipv4Addr::UNSPECIFIED, prefix: 0, router: GATEWAY4 };
    assert!(lease.routes.contains(&default), "{lease:?}");
    assert_eq!(lease.lease_seconds, Some(86_400), "{lease:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn leases_and_traffic_by_tcx_and_peer() {
    require_netns!();
    matrix(false, "peer");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn leases_and_traffic_by_tcx_and_plain() {
    require_netns!();
    matrix(false, "plain");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn leases_and_traffic_by_clsact_and_peer() {
    require_netns!();
    matrix(true, "peer");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn leases_and_traffic_by_clsact_and_plain() {
    require_netns!();
    matrix(true, "plain");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_pod_of_the_bridge_plugin_hands_on_its_prefix_and_more_routes() {
    require_netns!();
    let more = ("203.0.113.0/24".to_owned(), "10.88.0.7".to_owned());
    let pod = Pod { layout: Layout::Subnet, mtu: 1400, routes: vec![more], ..Pod::default() };
    let scene = Scene::with(pod, Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = scene.guest().unwrap();
    for client in [DhcpClient::Udhcpc, DhcpClient::Dhclient] {
        let lease = lease(&guest, client).unwrap();
        assert_identity(&lease, 1400);
        assert_eq!(lease.prefix, PREFIX4, "{lease:?}");
        let network = Ipv4Addr::new(203, 0, 113, 0);
        let route = LeaseRoute { network, prefix: 24, router: Ipv4Addr::new(10, 88, 0, 7) };
        assert!(lease.routes.contains(&route), "{lease:?}");
    }
    ping(scene.node(), &POD4.to_string()).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_guest_with_a_mac_of_its_own_is_seen_with_the_pods() {
    require_netns!();
    let mac = "52:54:00:12:34:56";
    let scene = Scene::new().unwrap();
    let port = scene.attach(&["--mac", mac]).unwrap();
    assert_eq!(port["guest"]["mac"], mac);
    let guest = StandIn::start(scene.pod(), &StandInSpec::new(TAP, mac)).unwrap();
    lease(&guest, DhcpClient::Udhcpc).unwrap();
    configure_ipv6(&guest).unwrap();
    ping_both_ways(scene.node(), &guest.guest).unwrap();
    let neighbour = scene.node().ip(&format!("neigh show {POD4}")).unwrap();
    assert!(neighbour.contains(&scene.topology.pod_mac().unwrap()), "{neighbour}");

    // With another source the same guest reaches nobody, and it is counted why.
    guest.guest.ip(&format!("link set {GUEST_LINK} address 52:54:00:ff:ff:ff")).unwrap();
    guest.guest.exec(&["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", &GATEWAY4.to_string()]).unwrap();
    scene
        .wait_port("a drop for the source MAC", |port| {
            port["counters"]["drops"]["source_mac"].as_u64() > Some(0)
        })
        .unwrap();
    guest.guest.ip(&format!("link set {GUEST_LINK} address {mac}")).unwrap();
    wait_ping(scene.node(), &POD4.to_string()).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_tap_of_several_queues_gives_each_opener_one() {
    require_netns!();
    use netagent_tests::tap::{Tap, TapSpec};
    let scene = Scene::new().unwrap();
    let port = scene.attach(&["--queues", "4"]).unwrap();
    assert_eq!(port["tap"]["queues"], 4);
    let single = Tap::open(scene.pod(), TAP, TapSpec { multi_queue: false, ..TapSpec::default() });
    let error = format!("{:#}", single.unwrap_err());
    assert!(error.contains("EINVAL"), "{error}");
    let several = TapSpec { multi_queue: true, ..TapSpec::default() };
    let queues = [several; 2].map(|spec| Tap::open(scene.pod(), TAP, spec).unwrap());
    let shown = scene.pod().ip_json(&format!("link show {TAP}")).unwrap();
    assert_eq!(
        shown.pointer("/0/linkinfo/info_data/numqueues").and_then(serde_json::Value::as_u64),
        Some(2),
        "{shown}"
    );
    drop(queues);

    // And the other way round: a tap of one queue refuses an opener that wants several, and a second opener.
    let one = Scene::new().unwrap();
    one.attach(&[]).unwrap();
    let error = format!("{:#}", Tap::open(one.pod(), TAP, several).unwrap_err());
    assert!(error.contains("EINVAL"), "{error}");
    let _first = Tap::open(one.pod(), TAP, TapSpec::default()).unwrap();
    let error = format!("{:#}", Tap::open(one.pod(), TAP, TapSpec::default()).unwrap_err());
    assert!(error.contains("EBUSY"), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_guest_of_several_queues_leases_and_moves_tcp() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&["--queues", "4"]).unwrap();
    let mac = scene.topology.pod_mac().unwrap();
    let spec = StandInSpec { multi_queue: true, ..StandInSpec::new(TAP, &mac) };
    let guest = StandIn::start(scene.pod(), &spec).unwrap();
    assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
    let _server = iperf::server(&guest.guest, 5201, &scene.agent.dir().join("iperf3.log")).unwrap();
    let report = Iperf::to(POD4, 1).reverse().run(scene.node()).unwrap();
    assert!(report.received_bits_per_second() > 1e6, "{report:?}");
}
