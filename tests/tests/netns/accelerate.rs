// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mode `accelerate`: a VM that KubeVirt wired with a bridge keeps it, and the programs come and go in front of it.

use std::{fs, path::Path};

use netagent_tests::{
    agent::Agent,
    attached,
    bridge_binding::{self, BRIDGE, BridgeBinding, POD_LINK_IN_BRIDGE},
    flood::{Echo, Flood},
    iperf::{self, Report},
    lease::DhcpClient,
    netns::Netns,
    poll,
    process::Process,
    stand_in::{StandIn, StandInSpec},
    topology::{GATEWAY4, POD_LINK, POD4, Pod, Topology},
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    require_netns,
    scene::{self, SOON, Scene, TAP, is_pods, number, ping, ping_both_ways, wait_ping},
    snapshot::Snapshot,
    traces,
};

const ACCELERATE: [&str; 2] = ["--mode", "accelerate"];
/// Frames that are enough to know which way they take.
const ENOUGH: u64 = 500;
/// Frames that the bridge may see beside: what a guest asks of routers and DHCP servers.
const ASIDE: u64 = 10;

/// A VM in a bridge, with what KubeVirt's DHCP told it, and an agent that knows nothing of it.
struct Bridged {
    guest: StandIn,
    binding: BridgeBinding,
    scene: Scene,
}

impl Bridged {
    fn new(queues: u32) -> Self {
        let topology = Pod::default().build().unwrap();
        let binding = BridgeBinding::wire(&topology, queues).unwrap();
        let spec = StandInSpec { multi_queue: queues > 1, ..StandInSpec::new(TAP, &binding.mac) };
        let guest = StandIn::start(&topology.pod, &spec).unwrap();
        scene::configure(&guest).unwrap();
        wait_ping(&topology.node, &POD4.to_string()).unwrap();
        let scene = Scene { agent: Agent::builder().start().unwrap(), topology };
        Self { guest, binding, scene }
    }

    fn attach(&self) -> Value {
        self.scene.attach(&ACCELERATE).unwrap()
    }

    fn forwarded_by_bridge(&self) -> u64 {
        bridge_binding::forwarded(&self.scene.topology).unwrap()
    }

    /// Waits until the programs have forwarded enough of both directions; how much the bridge has meanwhile.
    fn past_the_bridge(&self) -> u64 {
        let counts = || {
            let port = self.scene.show().unwrap();
            ["/counters/from_vm/packets", "/counters/to_vm/packets"].map(|way| number(&port, way).unwrap())
        };
        let (before, ours) = (self.forwarded_by_bridge(), counts());
        poll::wait_until("the programs to forward both ways", SOON, || {
            let now = counts();
            now.iter().zip(ours).all(|(now, then)| *now >= then + ENOUGH).then_some(())
        })
        .unwrap();
        self.forwarded_by_bridge() - before
    }

    /// Waits until the bridge has forwarded enough.
    fn through_the_bridge(&self) {
        let before = self.forwarded_by_bridge();
        poll::wait_until("the bridge to forward", SOON, || {
            (self.forwarded_by_bridge() >= before + 2 * ENOUGH).then_some(())
        })
        .unwrap();
    }
}

/// What the agent's own search finds in a namespace: pod link, tap and stand-in of each.
fn bridged_ports(netns: &Netns) -> Vec<[String; 3]> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let netns = netagent::sys::netns::Netns::open(netns.path()).unwrap();
    let found = runtime.block_on(netagent::reconcile::bridged_ports(&netns)).unwrap();
    found.into_iter().map(|p| [p.pod_link, p.tap, p.stand_in].map(|name| name.to_string())).collect()
}

fn programs(pod: &Netns) -> Vec<String> {
    let found = attached::programs(pod).unwrap();
    found.into_iter().map(|one| format!("{} {} {}", one.program, one.link, one.hook)).collect()
}

/// Both ways, until it is interrupted: how long the rounds take is the machine's to say.
fn start_transfer(vm: &Bridged, report: &Path) -> Process {
    let listens = || Ok(vm.guest.guest.exec_ok(&["cat", "/proc/net/tcp6"])?.contains(":1451 ").then_some(()));
    poll::try_until("the iperf3 server to listen on port 5201", SOON, listens).unwrap();
    let mut client = vm.scene.node().command("iperf3");
    client.args(["-J", "-c", &POD4.to_string(), "-t", "600", "-b", "20M", "--bidir"]);
    Process::spawn_logged(&mut client, report).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_transfer_goes_on_while_programs_come_and_go_in_front_of_the_bridge() {
    require_netns!();
    let vm = Bridged::new(1);
    let before = Snapshot::take(vm.scene.pod()).unwrap();
    let log = |name: &str| vm.scene.topology.dir().join(name);
    let _server = iperf::server(&vm.guest.guest, 5201, &log("iperf-server.log")).unwrap();
    let mut transfer = start_transfer(&vm, &log("iperf.json"));
    vm.through_the_bridge();
    for round in 0..4 {
        let port = vm.attach();
        assert_eq!((&port["mode"], &port["datapath"]["tier"]), (&"accelerate".into(), &"peer".into()));
        let aside = vm.past_the_bridge();
        assert!(aside <= ASIDE, "round {round}: the bridge forwarded {aside} frames beside the programs");
        assert_eq!(vm.scene.detach().unwrap().len(), 1);
        vm.through_the_bridge();
    }
    assert!(transfer.try_wait().unwrap().is_none(), "it ended: {:?}", fs::read_to_string(log("iperf.json")));
    transfer.signal(Signal::SIGINT).unwrap();
    transfer.wait(SOON).unwrap();
    let report = Report::parse(&fs::read_to_string(log("iperf.json")).unwrap()).unwrap();
    let ended = report.error.as_deref().unwrap_or_default();
    assert!(ended.contains("interrupt"), "not by us: {ended}");
    assert_eq!(before.changes(&Snapshot::take(vm.scene.pod()).unwrap()), Vec::<String>::new());
    assert_eq!(traces::of_ports(&vm.scene.agent).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn nothing_is_lost_by_coming_and_going() {
    require_netns!();
    let vm = Bridged::new(1);
    let target = (POD4, 7000).into();
    let echo = Echo::start(&vm.guest.guest, target).unwrap();
    let flood = Flood::start(vm.scene.node(), target, 2000).unwrap();
    let more = || {
        let goal = flood.so_far().1 + 500;
        poll::wait_until("echoes", SOON, || (flood.so_far().1 >= goal).then_some(())).unwrap();
    };
    more();
    for _ in 0..5 {
        vm.attach();
        more();
        vm.scene.detach().unwrap();
        more();
    }
    let counted = flood.stop().unwrap();
    assert_eq!((counted.lost, counted.duplicated), (0, 0), "{counted:?}");
    assert_eq!(echo.arrived(), counted.sent);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_guest_keeps_kubevirt_s_dhcp_and_is_held_to_its_identity() {
    require_netns!();
    for (queues, tier) in [(1, "peer"), (4, "plain")] {
        let vm = Bridged::new(queues);
        let (pod, node) = (vm.scene.pod(), vm.scene.node());
        let port = vm.scene.attach(&[&ACCELERATE[..], &["--tier", tier]].concat()).unwrap();
        assert_eq!(port["guest"]["mac"], vm.binding.mac);
        assert_eq!(port["pod_link"]["ifname"], POD_LINK_IN_BRIDGE);
        let reason = port["datapath"]["reason"].as_str().unwrap();
        assert!(reason.contains("unproved: the tap is the VM's"), "{reason}");
        assert_eq!(
            programs(pod),
            ["from_pod eth0-nic tcx/egress", "to_vm eth0-nic tcx/ingress", "from_vm tap0 tcx/ingress"]
        );
        ping_both_ways(node, &vm.guest.guest).unwrap();

        // It asks again from nothing, and virt-launcher's server answers.
        let lease = scene::lease(&vm.guest, DhcpClient::Udhcpc).unwrap();
        assert!(is_pods(lease.address), "{lease:?}");
        assert_eq!(lease.server.map(|server| server.to_string()).as_deref(), Some("169.254.75.10"));
        assert!(number(&vm.scene.show().unwrap(), "/counters/punted/packets").unwrap() >= 2);
        assert_eq!(vm.scene.show().unwrap()["dhcp"]["last"], "", "the agent answered");

        // Another address, and another MAC, are not the pod's.
        let card = &vm.guest.guest;
        card.ip("address add 10.88.0.66/24 dev eth0").unwrap();
        let stranger =
            card.exec(&["ping", "-n", "-c", "1", "-W", "1", "-I", "10.88.0.66", &GATEWAY4.to_string()]);
        assert_ne!(stranger.unwrap().code, 0);
        card.ip("address del 10.88.0.66/24 dev eth0").unwrap();
        card.ip("link set eth0 address 02:00:00:00:00:66").unwrap();
        let other = card.exec(&["ping", "-n", "-c", "1", "-W", "1", &GATEWAY4.to_string()]).unwrap();
        assert_ne!(other.code, 0);
        let drops = vm.scene.show().unwrap()["counters"]["drops"].clone();
        assert!(drops["source_mac"].as_u64() > Some(0), "{drops}");
        assert!(drops["source_ipv4"].as_u64().or(drops["arp_sender"].as_u64()) > Some(0), "{drops}");
        card.ip(&format!("link set eth0 address {}", vm.binding.mac)).unwrap();
        ping(node, &POD4.to_string()).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn an_agent_that_dies_leaves_the_port_and_cleanup_leaves_the_bridge() {
    require_netns!();
    let mut vm = Bridged::new(1);
    let before = Snapshot::take(vm.scene.pod()).unwrap();
    vm.attach();
    let attached = programs(vm.scene.pod());
    vm.scene.agent.kill9().unwrap();
    ping_both_ways(vm.scene.node(), &vm.guest.guest).unwrap();
    vm.scene.agent.start().unwrap();
    vm.scene.wait_port("the port to be adopted", |port| port["state"] == "ready").unwrap();
    assert_eq!(programs(vm.scene.pod()), attached);
    assert_eq!(vm.scene.plan(&ACCELERATE).unwrap(), Vec::<String>::new());

    vm.scene.agent.kill9().unwrap();
    let bpffs = vm.scene.agent.bpffs().path().to_str().unwrap().to_owned();
    let done = vm.scene.agent.cli(&["cleanup", "--bpffs", &bpffs]).unwrap();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(before.changes(&Snapshot::take(vm.scene.pod()).unwrap()), Vec::<String>::new());
    ping_both_ways(vm.scene.node(), &vm.guest.guest).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_tap_that_leaves_the_bridge_gets_its_frames_back_and_a_return_is_noticed() {
    require_netns!();
    let vm = Bridged::new(1);
    vm.attach();
    vm.scene.pod().ip(&format!("link set {TAP} nomaster")).unwrap();
    let port = vm.scene.wait_port("the port to fail", |port| port["state"] == "failed").unwrap();
    let reason = port["reason"].as_str().unwrap();
    assert!(reason.contains("tap0 is not a tap in one bridge with eth0-nic"), "{reason}");
    assert_eq!(programs(vm.scene.pod()), Vec::<String>::new());
    vm.scene.pod().ip(&format!("link set {TAP} master {BRIDGE}")).unwrap();
    vm.scene.wait_port("the port to be ready again", |port| port["state"] == "ready").unwrap();
    ping_both_ways(vm.scene.node(), &vm.guest.guest).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_would_cut_a_vm_off_is_refused_before_anything_is_touched() {
    require_netns!();
    let vm = Bridged::new(1);
    let found = bridged_ports(vm.scene.pod());
    assert_eq!(found, [[POD_LINK_IN_BRIDGE, TAP, POD_LINK].map(str::to_owned)]);
    assert_eq!(bridged_ports(vm.scene.node()), Vec::<[String; 3]>::new());
    let before = Snapshot::take(vm.scene.pod()).unwrap();
    let refused = |flags: &[&str], words: &[&str]| {
        let done = vm.scene.try_attach(flags).unwrap();
        assert_eq!(done.code, 1, "{flags:?}: {done:?}");
        for word in words {
            assert!(done.stderr.contains(word), "{flags:?}: {} should say {word}", done.stderr);
        }
        assert_eq!(before.changes(&Snapshot::take(vm.scene.pod()).unwrap()), Vec::<String>::new());
        assert_eq!(traces::of_ports(&vm.scene.agent).unwrap(), Vec::<String>::new());
    };
    refused(
        &["--pod-link", POD_LINK_IN_BRIDGE, "--no-hand-off"],
        &["tap0 exists", "one bridge with the pod link"],
    );
    refused(&["--mode", "accelerate", "--mtu", "1400"], &["leaves to KubeVirt"]);
    refused(&["--mode", "accelerate", "--tier", "xdp"], &["tier xdp is not possible", "in a bridge"]);
    refused(&["--mode", "accelerate", "--pod-link", POD_LINK], &["no stand-in"]);

    // A guest with a MAC of its own speaks, which the pod's devices do not tell of.
    vm.guest.guest.ip("link set eth0 address 02:00:00:00:00:77").unwrap();
    wait_ping(&vm.guest.guest, &GATEWAY4.to_string()).unwrap();
    refused(&ACCELERATE, &["has heard 02:00:00:00:00:77 through tap tap0", "--mac"]);
    vm.scene.pod().exec_ok(&["bridge", "fdb", "del", &vm.binding.mac, "dev", TAP, "master"]).unwrap();
    vm.scene.attach(&[&ACCELERATE[..], &["--mac", "02:00:00:00:00:77"]].concat()).unwrap();
    ping_both_ways(vm.scene.node(), &vm.guest.guest).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_kernel_without_tcx_is_told_so() {
    require_netns!();
    let topology: Topology = Pod::default().build().unwrap();
    let _binding = BridgeBinding::wire(&topology, 1).unwrap();
    let agent = Agent::builder().arg("--without").arg("tcx").start().unwrap();
    let done = scene::try_attach(&agent, &topology, &ACCELERATE).unwrap();
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("mode accelerate needs tcx"), "{}", done.stderr);
}
