// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real guest kernel on a port under this kernel: its lease, pings both ways, TCP both ways.

use std::time::Duration;

use netagent_tests::{
    agent::Agent,
    fact,
    iperf::Iperf,
    ping::Ping,
    require::Need,
    topology::{GATEWAY4, OUTSIDE4, POD4, Pod},
    uml::{Uml, UmlSpec},
};

/// An emulated machine on a busy one boots slowly; what must happen, happens within this or never.
const PATIENCE: Duration = Duration::from_secs(400);

#[test]
#[ignore = "needs root and user-mode Linux: cargo xtask vm"]
fn a_real_guest_leases_and_moves_traffic() {
    netagent_tests::require!(
        Need::Root,
        Need::Tun,
        Need::BpfFs,
        Need::Agent,
        Need::Program("iperf3", "iperf3")
    );
    let topology = Pod::default().build().unwrap();
    let agent = Agent::builder().start().unwrap();
    let netns = topology.pod.path().display().to_string();
    let resolv_conf = topology.resolv_conf().display().to_string();
    let port = agent
        .json(&["attach", "--netns", &netns, "--hostname", "vm", "--resolv-conf", &resolv_conf])
        .unwrap();
    let id = port["id"].as_str().unwrap();
    let spec = UmlSpec {
        tap: "tap0".to_owned(),
        mac: topology.pod_mac().unwrap(),
        pings: vec![GATEWAY4.into(), OUTSIDE4.into()],
    };
    let mut guest = Uml::boot(&topology.pod, &spec).unwrap();

    let (lease, after) = guest.wait_lease(PATIENCE).unwrap();
    assert_eq!((lease.address, lease.hostname.as_deref(), lease.mtu), (POD4, Some("vm"), Some(1500)));
    fact::tell("lease", format!("{:.1} s", after.as_secs_f64()));
    guest.wait_pinged(PATIENCE).unwrap();
    let said = topology.node.exec(&["ping", "-n", "-c", "3", "-W", "5", &POD4.to_string()]).unwrap().stdout;
    let ping = Ping::parse(&said).unwrap();
    assert_eq!(ping.received, 3, "from the node to the guest: {said}");

    for (way, test) in [("in", Iperf::to(POD4, 2)), ("out", Iperf::to(POD4, 2).reverse())] {
        let report = test.run(&topology.node).unwrap();
        assert!(report.received_bits_per_second() > 1e6, "{way}: {report:?}");
        fact::tell(&format!("iperf-{way}"), format!("{:.0}", report.received_bits_per_second() / 1e6));
    }
    let port = agent.json(&["show", id]).unwrap();
    // Not the last message: a router solicitation may come behind it.
    assert!(port["dhcp"]["messages"]["request -> ack"].as_u64() > Some(0), "{port}");
    // An honest guest loses nothing to the guard but what an Ethernet nobody asked about carries.
    for reason in ["source_mac", "source_ipv4", "arp_sender", "malformed", "oversized", "unconfigured"] {
        assert_eq!(port["counters"]["drops"].get(reason), None, "{port}");
    }
}
