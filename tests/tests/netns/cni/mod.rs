// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CNI plugin as runtimes call it: among the plugins of the distribution, with a guest that uses what was wired, and
//! nothing left in the end. The configurations are those of docs/cni.md.

mod chained;
mod gc;
mod kubevirt;
mod refused;
mod vm;
mod without_agent;

use std::net::Ipv4Addr;

use netagent_tests::{
    agent::Agent,
    cni_runtime::{Attachment, Network, Refusal, Runtime},
    lease::{DhcpClient, Lease},
    netns::Netns,
    stand_in::{StandIn, StandInSpec},
};
use serde_json::Value;

use crate::{
    scene::{self, lease, ping},
    snapshot::Snapshot,
    traces,
};

const PAGE: &str = include_str!("../../../../docs/cni.md");
/// Of this container: the id of a sandbox.
const CONTAINER: &str = "0a1b2c3d4e5f";

/// Why a test of this folder needs more than the others.
macro_rules! require_plugins {
    () => {
        crate::require_netns!();
        netagent_tests::require!(
            netagent_tests::require::Need::File("/usr/lib/cni/bridge", "containernetworking-plugins"),
            netagent_tests::require::Need::Program("iptables", "iptables"),
        );
    };
}
use require_plugins;

/// The configuration of that name on the page.
fn documented(name: &str) -> Network {
    let fenced = PAGE.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let definitions = PAGE.split("  config: |\n").skip(1);
    let definitions =
        definitions.map(|rest| rest.lines().take_while(|line| line.starts_with("    ")).collect::<String>());
    let found = fenced
        .map(str::to_owned)
        .chain(definitions)
        .map(|text| Network::read(&text).unwrap())
        .find(|network| network.name == name);
    assert!(found.is_some(), "docs/cni.md has no configuration of the name {name}");
    found.unwrap()
}

/// A node with an agent and a runtime, and one container's namespace.
struct Node {
    // Dropped in this order: an agent that outlived the namespace would clean up after it.
    agent: Agent,
    runtime: Runtime,
    node: Netns,
    pod: Netns,
}

impl Node {
    fn new() -> Self {
        let node = Netns::new("node").unwrap();
        let agent = Agent::builder().netns(&node).start().unwrap();
        let runtime = Runtime::new(&node, agent.binary()).unwrap();
        Self { agent, runtime, pod: Netns::new("pod").unwrap(), node }
    }

    /// The configuration of that name on the page, with the paths of this test.
    fn documented(&self, name: &str) -> Network {
        self.here(documented(name))
    }

    /// A configuration with the paths of this test.
    fn here(&self, mut network: Network) -> Network {
        let socket = self.agent.socket().display().to_string();
        for plugin in ["netagent", "tc-redirect-tap"] {
            network.set(plugin, "socket", socket.as_str());
        }
        for plugin in ["bridge", "ptp"] {
            network.set(plugin, "ipam/dataDir", self.runtime.data_dir());
        }
        network
    }

    fn ports(&self) -> Vec<Value> {
        self.agent.json(&["status"]).unwrap().as_array().unwrap().clone()
    }

    /// The one port with that pod link.
    fn port(&self, pod_link: &str) -> Value {
        let path = scene::path(&self.pod).unwrap();
        self.agent.json(&["show", "--netns", path, "--pod-link", pod_link]).unwrap()
    }

    /// Starts a guest on the port's tap.
    fn guest(&self, port: &Value) -> StandIn {
        let text = |pointer: &str| port.pointer(pointer).and_then(Value::as_str).unwrap();
        let mut spec = StandInSpec::new(text("/tap/ifname"), text("/guest/mac"));
        spec.multi_queue = port["tap"]["queues"].as_u64().unwrap() > 1;
        StandIn::start(&self.pod, &spec).unwrap()
    }

    /// The guest leases the pod's address, and both sides of the network answer each other.
    fn talks(&self, guest: &StandIn, address: &str, gateway: &str) -> Lease {
        let leased = lease(guest, DhcpClient::Udhcpc).unwrap();
        assert_eq!(leased.address, address.parse::<Ipv4Addr>().unwrap());
        ping(&guest.guest, gateway).unwrap();
        ping(&self.node, address).unwrap();
        leased
    }

    /// The pod is as it was, and the agent has nothing.
    fn assert_nothing_left(&self, before: &Snapshot) {
        assert_eq!(before.changes(&Snapshot::take(&self.pod).unwrap()), Vec::<String>::new());
        assert_eq!(self.ports(), Vec::<Value>::new());
        assert_eq!(traces::of_ports(&self.agent).unwrap(), Vec::<String>::new());
    }
}

/// The chain without the plugins before netagent.
fn ours(network: &Network) -> Network {
    let mut ours = network.clone();
    ours.plugins.retain(|plugin| plugin.get("type").is_some_and(|kind| kind == "netagent"));
    ours
}

/// The address of the pod in a result, without its prefix.
fn address(result: &Value) -> String {
    let address = result["ips"][0]["address"].as_str().unwrap();
    address.split('/').next().unwrap().to_owned()
}

/// The plugin's error of a call that must fail.
fn refusal<T: std::fmt::Debug>(outcome: anyhow::Result<T>) -> Refusal {
    outcome.unwrap_err().downcast().unwrap()
}

fn pod_of(container: &str, netns: &Netns) -> Attachment {
    Attachment::new(container, netns).of_pod("shop", "vm-7", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
}
