// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 in a real guest kernel: addresses by DHCPv6, the default route and the MTU by router advertisements, and all of it
//! without the agent.

use std::net::IpAddr;

use netagent_tests::{
    iperf::Iperf,
    lease::DhcpClient,
    ping::Ping,
    poll,
    resolver::Resolver,
    topology::{GATEWAY6, POD6, Pod},
};

use crate::rig::{PATIENCE, Rig, Setup};

const RESOLV_CONF: &str =
    "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\nnameserver fd00:96::10\n";
/// The pod link's, in bytes. A guest's card has 1500 until it is told.
const MTU: u32 = 1400;

fn pod() -> Pod {
    Pod { mtu: MTU, resolv_conf: RESOLV_CONF.to_owned(), ..Pod::default() }
}

impl Rig {
    fn sh(&self, command: &str) -> String {
        self.guest.sh_ok(command, PATIENCE).unwrap()
    }

    /// Asks for a DHCPv6 lease, once, and checks what the guest has of it.
    fn lease_ipv6(&self) {
        // dhclient binds to the link-local address, which is nobody's before it was checked for duplicates.
        poll::wait_until("a link-local address that was checked", PATIENCE, || {
            let addresses = self.sh("/bin/ip -6 addr show dev eth0 scope link");
            (addresses.contains("fe80:") && !addresses.contains("tentative")).then_some(())
        })
        .unwrap();
        // What stands there may be DHCPv4's.
        self.sh(": >/etc/resolv.conf");
        self.sh("dhclient -v -6 -1 -pf /run/dhclient6.pid -lf /run/dhclient6.leases eth0");
        let addresses = self.sh("/bin/ip -6 addr show dev eth0 scope global");
        assert!(addresses.contains(&format!("{POD6}/")), "{addresses}");
        let told = Resolver::parse(RESOLV_CONF);
        let of_ipv6: Vec<IpAddr> = told.servers.iter().copied().filter(IpAddr::is_ipv6).collect();
        let has = Resolver::parse(&self.sh("cat /etc/resolv.conf"));
        assert_eq!(has, Resolver { servers: of_ipv6, search: told.search });
    }

    /// `fe80::… proto ra` in `ip -6 route`: only the kernel's own handling of an advertisement makes such a route.
    fn default_route(&self) -> String {
        poll::wait_until("a default route by router advertisement", PATIENCE, || {
            let routes = self.sh("/bin/ip -6 route show default");
            routes.lines().find(|route| route.contains("proto ra")).map(str::to_owned)
        })
        .unwrap()
    }

    /// The default route leads to the router that the agent found.
    fn is_routed(&self) -> String {
        let port = self.port();
        let router = port["guest"]["routers"][0]["link_local"].as_str().unwrap();
        let route = self.default_route();
        assert!(route.contains(&format!("via {router} ")), "{route}, and the router is {router}");
        route
    }

    /// MTU of the guest's card, and what its IPv6 makes of it.
    fn mtus(&self) -> [u32; 2] {
        ["/sys/class/net/eth0/mtu", "/proc/sys/net/ipv6/conf/eth0/mtu"]
            .map(|file| self.sh(&format!("cat {file}")).trim().parse().unwrap())
    }

    /// Pings of the largest size, of which none is lost: one answer is enough for ping to be content.
    fn ping_both_ways(&self) {
        let size = MTU - 48;
        let of_guest = self.sh(&format!("ping -6 -c 3 -W 5 -s {size} {GATEWAY6}"));
        let words = ["ping", "-n", "-c", "10", "-i", "0.2", "-W", "5", "-M", "do", "-s"];
        let target = [size.to_string(), POD6.to_string()];
        let of_node = self.topology.node.exec(&[&words[..], &target.each_ref().map(String::as_str)].concat());
        for (said, sent) in [(of_guest, 3), (of_node.unwrap().stdout, 10)] {
            let ping = Ping::parse(&said).unwrap();
            assert_eq!((ping.sent, ping.received), (sent, sent), "{said}");
        }
    }

    fn tcp_both_ways(&self) {
        for reverse in [false, true] {
            let iperf = Iperf::to(POD6, 1);
            let report = if reverse { iperf.reverse() } else { iperf }.run(&self.topology.node).unwrap();
            assert!(report.received_bits_per_second() > 0.0, "{report:?}");
        }
    }

    /// An honest guest loses nothing.
    fn drops_nothing(&self) {
        for reason in ["source_mac", "source_ipv6", "nd_target", "nd_option", "malformed", "oversized"] {
            assert_eq!(self.counter(&format!("/drops/{reason}")), 0, "{reason}");
        }
    }
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn a_dual_stack_guest_leases_is_routed_and_outlives_the_agent() {
    let mut rig = Rig::up(&Setup { pod: pod(), client: DhcpClient::Dhclient, ..Setup::default() });
    rig.lease_ipv6();
    let route = rig.is_routed();
    // DHCPv4 said it for the card.
    assert_eq!(rig.mtus(), [MTU, MTU]);
    rig.ping_both_ways();
    rig.tcp_both_ways();

    let before = rig.counter("/from_vm/packets");
    rig.agent.kill9().unwrap();
    rig.ping_both_ways();
    assert_eq!(rig.default_route().split(" expires").next(), route.split(" expires").next());
    rig.agent.start().unwrap();
    rig.ping_both_ways();
    assert_eq!(rig.port()["state"], "ready");
    assert!(rig.counter("/from_vm/packets") >= before + 20, "counters go on");
    rig.drops_nothing();
}

#[test]
#[ignore = "needs root and QEMU: cargo xtask test vm"]
fn a_guest_in_a_pod_of_ipv6_alone() {
    let rig = Rig::up(&Setup { pod: Pod { ipv4: false, ..pod() }, ..Setup::default() });
    rig.lease_ipv6();
    rig.is_routed();
    // Only an advertisement can have said it: there is no DHCPv4, and DHCPv6 has no word for it.
    assert_eq!(rig.mtus(), [1500, MTU]);
    rig.ping_both_ways();
    rig.tcp_both_ways();
    let addresses = rig.sh("/bin/ip -4 addr show dev eth0 scope global");
    assert_eq!(addresses.trim(), "", "nobody gave it an IPv4 address");
    rig.drops_nothing();
}
