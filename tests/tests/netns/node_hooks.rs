// SPDX-License-Identifier: MIT OR Apache-2.0
//! KubeVirt's node hooks, called over gRPC as virt-handler calls them, with a launcher and a QEMU that are stand-ins.

use std::{fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

use hyper_util::rt::TokioIo;
use netagent::discovery::kubevirt::v1alpha1::{
    ExecuteNodeHookRequest, NodeContext, node_hook_service_client::NodeHookServiceClient,
};
use netagent_tests::{
    agent::Agent,
    bridge_binding::{BridgeBinding, POD_LINK_IN_BRIDGE},
    launcher::{Launcher, QEMU},
    lease::DhcpClient,
    netns::Netns,
    stand_in::{StandIn, StandInSpec},
    tap::{Tap, TapSpec},
    topology::{POD_LINK, Pod, Topology},
};
use nix::libc;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tonic::{Code, Status, transport::Endpoint};

use crate::{
    require_netns,
    scene::{self, TAP, lease, ping_both_ways},
    snapshot::Snapshot,
    traces,
};

const NODE: &str = "node01";
const POD_UID: &str = "4c1f9c52-5a1f-4e0e-8f0e-3c6a7d2b9e10";
/// virt-handler's own is 30 s.
const CALL: Duration = Duration::from_secs(60);

/// A node where KubeVirt would run: the kubelet's directory, an agent that serves hooks.
struct Node {
    agent: Agent,
    kubelet: tempfile::TempDir,
    hooks: PathBuf,
}

impl Node {
    fn start(more: &str) -> Self {
        let kubelet = tempfile::tempdir().unwrap();
        let hooks = kubelet.path().join("plugins/netagent.sock");
        let config = kubelet.path().join("netagent.toml");
        let section = format!("[kubevirt]\nhooks = {hooks:?}\nkubelet = {:?}\n{more}", kubelet.path());
        fs::write(&config, section).unwrap();
        let agent = Agent::builder().arg("--config").arg(config.to_str().unwrap()).start().unwrap();
        Self { agent, kubelet, hooks }
    }

    fn launcher(&self, topology: &Topology, uid: &str) -> Launcher {
        let resolv_conf = topology.resolv_conf();
        Launcher::start(&topology.pod, self.kubelet.path(), uid, resolv_conf, "db").unwrap()
    }

    fn call(&self, hook: &str, vmi: &Value) -> Result<(), Status> {
        self.call_raw(hook, vmi.to_string().into_bytes())
    }

    fn call_raw(&self, hook: &str, vmi: Vec<u8>) -> Result<(), Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = self.hooks.clone();
        runtime.block_on(async move {
            // grpc-go says `localhost` for a unix socket.
            let connector = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            let endpoint = Endpoint::from_static("http://localhost").timeout(CALL);
            let channel = endpoint.connect_with_connector(connector).await.unwrap();
            let request = ExecuteNodeHookRequest {
                hook_point: hook.to_owned(),
                vmi,
                node_context: Some(NodeContext { node_name: NODE.to_owned() }),
            };
            NodeHookServiceClient::new(channel).execute_node_hook(request).await.map(drop)
        })
    }

    /// The ports, as the agent shows them.
    fn ports(&self) -> Vec<Value> {
        self.agent.json(&["status"]).unwrap().as_array().unwrap().clone()
    }
}

fn vmi(interface: Value, uid: &str) -> Value {
    json!({
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "domain": {
                "cpu": {"cores": 2, "sockets": 1, "threads": 1},
                "devices": {"interfaces": [interface]}
            },
            "networks": [{"name": "default", "pod": {}}]
        },
        "status": {"activePods": {uid: NODE, "a7e0f1b2-93c4-4d5e-9f60-718293a4b5c6": "node02"}}
    })
}

fn bound() -> Value {
    json!({"name": "default", "binding": {"name": "netagent"}})
}

/// What libvirt asks of the kernel for a card of so many queues, as QEMU's user.
fn libvirt_opens(pod: &Netns, queues: u32, user: u32) -> anyhow::Result<Tap> {
    Tap::open_as(pod, TAP, TapSpec { multi_queue: queues > 1, ..TapSpec::default() }, user)
}

fn errno(refused: &anyhow::Error) -> Option<i32> {
    refused.chain().find_map(|cause| cause.downcast_ref::<nix::errno::Errno>()).map(|errno| *errno as i32)
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_vm_gets_its_port_before_it_starts_and_loses_it_when_it_has_stopped() {
    require_netns!();
    let node = Node::start("");
    let topology = Pod { mtu: 1450, ..Pod::default() }.build().unwrap();
    let before = Snapshot::take(&topology.pod).unwrap();
    let _launcher = node.launcher(&topology, POD_UID);
    let mut vm = vmi(bound(), POD_UID);
    vm["metadata"]["annotations"] = json!({"netagent.dev/mtu": "1400"});
    vm["spec"]["domain"]["devices"]["interfaces"][0]["dhcpOptions"] =
        json!({"bootFileName": "pxelinux.0", "ntpServers": ["10.0.0.1"]});

    // virt-handler comes again whenever it looks at a VM that does not run yet.
    node.call("PreVMStart", &vm).unwrap();
    let wired = Snapshot::take(&topology.pod).unwrap();
    for _ in 0..3 {
        node.call("PreVMStart", &vm).unwrap();
    }
    assert_eq!(wired.changes(&Snapshot::take(&topology.pod).unwrap()), Vec::<String>::new());
    let ports = node.ports();
    assert_eq!(ports.len(), 1, "{ports:?}");
    let port = &ports[0];
    assert_eq!(port["state"], "ready");
    assert_eq!(
        (&port["origin"]["source"], &port["origin"]["pod_uid"], &port["origin"]["pod_namespace"]),
        (&"kubevirt".into(), &POD_UID.into(), &"shop".into())
    );
    assert_eq!(port["origin"]["pod_name"], "virt-launcher-db-x7k2p");
    assert_eq!((&port["guest"]["hostname"], &port["guest"]["mtu"]), (&"db".into(), &1400.into()));
    assert_eq!(port["guest"]["dns"]["servers"], json!(["10.96.0.10"]), "of the launcher's resolv.conf");
    assert_eq!(
        (&port["guest"]["boot_file"], &port["guest"]["ntp"]),
        (&"pxelinux.0".into(), &json!(["10.0.0.1"]))
    );

    keeps_the_tap_contract(&topology, &wired, &before);
    let qemu = libvirt_opens(&topology.pod, 1, QEMU).unwrap();
    drop(qemu);
    let wrong = libvirt_opens(&topology.pod, 2, QEMU).unwrap_err();
    assert_eq!(errno(&wrong), Some(libc::EINVAL), "{wrong:#}");
    let stranger = libvirt_opens(&topology.pod, 1, QEMU + 1).unwrap_err();
    assert_eq!(errno(&stranger), Some(libc::EPERM), "{stranger:#}");

    let mac = port["guest"]["mac"].as_str().unwrap();
    let guest = StandIn::start(&topology.pod, &StandInSpec::new(TAP, mac)).unwrap();
    assert_eq!(lease(&guest, DhcpClient::Udhcpc).unwrap().mtu, Some(1400));
    scene::configure_ipv6(&guest).unwrap();
    ping_both_ways(&topology.node, &guest.guest).unwrap();
    drop(guest);

    // Another door's port of the same pod is not KubeVirt's to take.
    for _ in 0..2 {
        node.call("PostVMStop", &vm).unwrap();
        assert_eq!(node.ports(), Vec::<Value>::new());
    }
    assert_eq!(before.changes(&Snapshot::take(&topology.pod).unwrap()), Vec::<String>::new());
    assert_eq!(traces::of_ports(&node.agent).unwrap(), Vec::<String>::new());
    scene::attach(&node.agent, &topology, &[]).unwrap();
    node.call("PostVMStop", &vm).unwrap();
    assert_eq!(node.ports().len(), 1);
}

/// What KubeVirt's `domainAttachmentType: tap` rests on.
fn keeps_the_tap_contract(topology: &Topology, wired: &Snapshot, before: &Snapshot) {
    let links = topology.pod.ip_json("link show").unwrap();
    let link = |name: &str| links.as_array().unwrap().iter().find(|l| l["ifname"] == name).unwrap();
    let (tap, pod_link) = (link(TAP), link(POD_LINK));
    assert_eq!(tap["mtu"], pod_link["mtu"]);
    assert!(tap["flags"].as_array().unwrap().contains(&"UP".into()), "{tap}");
    let tun = &tap["linkinfo"]["info_data"];
    assert_eq!(
        (&tun["type"], &tun["persist"], &tun["multi_queue"]),
        (&"tap".into(), &true.into(), &false.into())
    );
    for link in links.as_array().unwrap() {
        let name = link["ifname"].as_str().unwrap();
        let digits = name.strip_prefix("net").unwrap_or("x");
        assert!(
            digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()),
            "{name} flips KubeVirt's names"
        );
    }
    // Its addresses, and routes of a device each: KubeVirt reads both.
    for part in ["-4 routes", "-6 routes"] {
        assert_eq!(wired.part(part).unwrap(), before.part(part).unwrap(), "{part}");
    }
    let addresses =
        topology.pod.ip_json(&format!("address show dev {POD_LINK} scope global")).unwrap().to_string();
    assert!(addresses.contains("10.88.0.5") && addresses.contains("fd00:88::5"), "{addresses}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_vm_that_arrives_keeps_its_queues_and_its_mac() {
    require_netns!();
    let node = Node::start("");
    let topology = Pod::default().build().unwrap();
    let _launcher = node.launcher(&topology, POD_UID);
    let mut vm = vmi(bound(), POD_UID);
    vm["status"]["interfaces"] =
        json!([{"name": "default", "mac": "02:00:00:00:00:77", "queueCount": 2, "podInterfaceName": "eth0"}]);
    node.call("PreMigrationTarget", &vm).unwrap();
    let first = Snapshot::take(&topology.pod).unwrap();
    node.call("PostMigrationTarget", &vm).unwrap();
    assert_eq!(first.changes(&Snapshot::take(&topology.pod).unwrap()), Vec::<String>::new());
    let ports = node.ports();
    assert_eq!(
        (&ports[0]["guest"]["mac"], &ports[0]["tap"]["queues"]),
        (&"02:00:00:00:00:77".into(), &2.into())
    );

    let queues: Vec<_> = (0..2).map(|_| libvirt_opens(&topology.pod, 2, QEMU).unwrap()).collect();
    drop(queues);
    let wrong = libvirt_opens(&topology.pod, 1, QEMU).unwrap_err();
    assert_eq!(errno(&wrong), Some(libc::EINVAL), "{wrong:#}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn what_cannot_be_done_is_said_with_vm_interface_and_remedy() {
    require_netns!();
    let node = Node::start("");
    let topology = Pod::default().build().unwrap();
    let before = Snapshot::take(&topology.pod).unwrap();
    let refused = |hook: &str, vm: &Value, code: Code, words: &[&str]| {
        let status = node.call(hook, vm).unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        for word in words {
            assert!(status.message().contains(word), "`{}` should say {word}", status.message());
        }
    };
    let vm = vmi(bound(), POD_UID);
    refused("PreVMStart", &vm, Code::Unavailable, &["shop/db", POD_UID, "launcher-sock"]);
    refused("PreVMStart", &vmi(bound(), "../../x"), Code::Unavailable, &["pod uid `../../x` is none"]);
    let nowhere = json!({"metadata": vm["metadata"], "spec": vm["spec"]});
    refused("PreVMStart", &nowhere, Code::NotFound, &["VM shop/db has no active pod on node `node01`"]);
    let mut odd = vm.clone();
    odd["spec"]["domain"]["devices"]["interfaces"][0]["macAddress"] = "none".into();
    refused(
        "PreVMStart",
        &odd,
        Code::InvalidArgument,
        &["shop/db", "interface default", "correct macAddress"],
    );
    for text in ["", "7", "{\"spec\":7}", "\u{0}\u{1}"] {
        let status = node.call_raw("PreVMStart", text.as_bytes().to_vec()).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{text}: {status:?}");
    }

    let launcher = node.launcher(&topology, POD_UID);
    let mut absent = vm.clone();
    absent["spec"]["networks"] = json!([{"name": "default", "multus": {"networkName": "shop/red"}}]);
    let words = ["wire interface default of VM shop/db", "no link pod37a8eec1ce1", "wait for the CNI"];
    refused("PreVMStart", &absent, Code::FailedPrecondition, &words);
    // What asks nothing of us is answered, too.
    for hook in ["PreVMStop", "PostVMStart", "PreMigrationSource", "SomethingNew", ""] {
        node.call(hook, &vm).unwrap();
    }
    node.call("PreVMStart", &vmi(json!({"name": "default", "masquerade": {}}), POD_UID)).unwrap();
    assert_eq!(node.ports(), Vec::<Value>::new());
    assert_eq!(before.changes(&Snapshot::take(&topology.pod).unwrap()), Vec::<String>::new());

    // A pod that points at another's launcher gets nothing in that one's namespace.
    let other = "11111111-5a1f-4e0e-8f0e-3c6a7d2b9e10";
    let theirs = node.kubelet.path().join("pods").join(other).join("volumes/kubernetes.io~empty-dir/sockets");
    fs::create_dir_all(&theirs).unwrap();
    symlink(launcher.socket(), theirs.join("launcher-sock")).unwrap();
    refused("PreVMStart", &vmi(bound(), other), Code::Unavailable, &["open", "launcher-sock"]);
    assert_eq!(node.ports(), Vec::<Value>::new());
    assert_eq!(node.agent.json(&["status"]).unwrap(), json!([]));
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_vm_with_kubevirt_s_bridge_is_accelerated_where_that_is_wanted_and_never_kept_from_starting() {
    require_netns!();
    let node = Node::start("accelerate = true\n");
    let topology = Pod::default().build().unwrap();
    let _launcher = node.launcher(&topology, POD_UID);
    let vm = vmi(json!({"name": "default", "bridge": {}}), POD_UID);
    // KubeVirt has not made its bridge yet, as before a migration.
    node.call("PreMigrationTarget", &vm).unwrap();
    assert_eq!(node.ports(), Vec::<Value>::new());
    assert!(node.agent.log().contains("bridge carries on"), "{}", node.agent.log_tail());

    let binding = BridgeBinding::wire(&topology, 1).unwrap();
    node.call("PreVMStart", &vm).unwrap();
    let ports = node.ports();
    assert_eq!(
        (&ports[0]["mode"], &ports[0]["pod_link"]["ifname"]),
        (&"accelerate".into(), &POD_LINK_IN_BRIDGE.into())
    );
    assert_eq!(ports[0]["guest"]["mac"], binding.mac);
    let guest = StandIn::start(&topology.pod, &StandInSpec::new(TAP, &binding.mac)).unwrap();
    scene::configure(&guest).unwrap();
    ping_both_ways(&topology.node, &guest.guest).unwrap();
    node.call("PostVMStop", &vm).unwrap();
    assert_eq!(node.ports(), Vec::<Value>::new());
    ping_both_ways(&topology.node, &guest.guest).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_tap_that_another_process_made_on_our_device_is_ours() {
    require_netns!();
    // As the agent starts itself where SELinux is enforced; the label is all that is missing here.
    let pod = Netns::new("pod").unwrap();
    // The namespace that the device is opened in is the tap's.
    let open = || fs::File::options().read(true).write(true).open("/dev/net/tun");
    let device = pod.run_inside(open).unwrap().unwrap();
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut maker = pod.command(netagent_tests::agent::binary().unwrap());
    maker.args(["make-tap", TAP, &flags.to_string()]).stdin(device.try_clone().unwrap());
    assert!(maker.status().unwrap().success());
    let tun = pod.ip_json(&format!("link show {TAP}")).unwrap()[0]["linkinfo"]["info_data"].clone();
    assert_eq!(
        (&tun["type"], &tun["vnet_hdr"], &tun["persist"]),
        (&"tap".into(), &true.into(), &false.into())
    );
    drop(device);
    assert_ne!(pod.exec(&["ip", "link", "show", TAP]).unwrap().code, 0, "it goes with its device");
}
