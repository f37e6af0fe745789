// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 in a real guest kernel: addresses by DHCPv6, the default route by router advertisements, and both without the agent.

use netagent_tests::{
    iperf::Iperf,
    lease::DhcpClient,
    ping::Ping,
    poll,
    topology::{GATEWAY6, POD6},
};

use crate::rig::{PATIENCE, Rig, Setup};

/// `fe80::… proto ra` in `ip -6 route`: only the kernel's own handling of an advertisement makes such a route.
fn default_route(rig: &Rig) -> String {
    poll::wait_until("a default route by router advertisement", PATIENCE, || {
        let routes = rig.guest.sh_ok("/bin/ip -6 route show default", PATIENCE).ok()?;
        routes.lines().find(|route| route.contains("proto ra")).map(str::to_owned)
    })
    .unwrap()
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn a_dual_stack_guest_leases_is_routed_and_outlives_the_agent() {
    let setup = Setup { agent: &[], attach: &[], client: DhcpClient::Dhclient, queues: 1 };
    let mut rig = Rig::up(&setup);
    let guest = |command: &str| rig.guest.sh_ok(command, PATIENCE).unwrap();
    // dhclient binds to the link-local address, which is nobody's before it was checked for duplicates.
    poll::wait_until("a link-local address that was checked", PATIENCE, || {
        let addresses = guest("/bin/ip -6 addr show dev eth0 scope link");
        (addresses.contains("fe80:") && !addresses.contains("tentative")).then_some(())
    })
    .unwrap();
    // What stands there is DHCPv4's.
    guest(": >/etc/resolv.conf");
    guest("dhclient -v -6 -1 -pf /run/dhclient6.pid -lf /run/dhclient6.leases eth0");
    let addresses = guest("/bin/ip -6 addr show dev eth0 scope global");
    assert!(addresses.contains(&format!("{POD6}/")), "{addresses}");
    let router = rig.port()["guest"]["routers"][0]["link_local"].as_str().unwrap().to_owned();
    let route = default_route(&rig);
    assert!(route.contains(&format!("via {router} ")), "{route}, and the router is {router}");
    let resolver = guest("cat /etc/resolv.conf");
    assert!(resolver.contains("default.svc.cluster.local"), "{resolver}");

    // One answer is enough for ping to be content.
    let both_ways = |rig: &Rig| {
        let said = rig.guest.sh_ok(&format!("ping -6 -c 3 -W 5 {GATEWAY6}"), PATIENCE).unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
        let said =
            rig.topology.node.exec(&["ping", "-n", "-c", "10", "-i", "0.2", "-W", "5", &POD6.to_string()]);
        let ping = Ping::parse(&said.unwrap().stdout).unwrap();
        assert_eq!(ping.received, ping.sent, "{ping:?}");
    };
    both_ways(&rig);
    for reverse in [false, true] {
        let iperf = Iperf::to(POD6, 2);
        let report = if reverse { iperf.reverse() } else { iperf }.run(&rig.topology.node).unwrap();
        assert!(report.received_bits_per_second() > 0.0, "{report:?}");
    }

    let before = rig.counter("/from_vm/packets");
    rig.agent.kill9().unwrap();
    both_ways(&rig);
    assert_eq!(default_route(&rig).split(" expires").next(), route.split(" expires").next());
    rig.agent.start().unwrap();
    both_ways(&rig);
    assert_eq!(rig.port()["state"], "ready");
    assert!(rig.counter("/from_vm/packets") >= before + 20, "counters go on");
    for reason in ["source_mac", "source_ipv6", "nd_target", "nd_option", "malformed"] {
        assert_eq!(rig.counter(&format!("/drops/{reason}")), 0, "{reason}");
    }
}
