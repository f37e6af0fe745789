// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pod, an agent, an attached port and a booted guest.

use std::{net::SocketAddr, time::Duration};

use netagent_tests::{
    agent::Agent,
    flood::Flood,
    guest::{ECHO_PORT, Guest, GuestSpec},
    image::Image,
    lease::{DhcpClient, Lease},
    poll,
    require::Need,
    topology::{POD4, Pod, Topology},
};
use serde_json::Value;

/// TCG on a busy machine boots slowly; what must happen, happens within this or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How the guest is connected.
pub(crate) struct Setup {
    pub(crate) agent: &'static [&'static str],
    pub(crate) attach: &'static [&'static str],
    pub(crate) pod: Pod,
    /// Who asks for the lease of a pod that has IPv4.
    pub(crate) client: DhcpClient,
    pub(crate) queues: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Self { agent: &[], attach: &[], pod: Pod::default(), client: DhcpClient::Udhcpc, queues: 1 }
    }
}

/// Everything that runs, in the order in which it ends.
pub(crate) struct Rig {
    pub(crate) guest: Guest,
    /// Of IPv4, in a pod that has it.
    pub(crate) lease: Option<Lease>,
    pub(crate) agent: Agent,
    pub(crate) topology: Topology,
    id: String,
}

impl Rig {
    /// Boots the guest and waits for its IPv4 lease, where it gets one.
    pub(crate) fn up(setup: &Setup) -> Self {
        netagent_tests::require!(Need::Root, Need::Tun, Need::BpfFs, Need::Qemu, Need::Agent);
        let image = Image::ensure(&|_| ()).unwrap();
        let topology = setup.pod.clone().build().unwrap();
        let mut builder = Agent::builder();
        for arg in setup.agent {
            builder = builder.arg(*arg);
        }
        let agent = builder.start().unwrap();
        let netns = topology.pod.path().display().to_string();
        let resolv_conf = topology.resolv_conf().display().to_string();
        let queues = setup.queues.to_string();
        let mut args = vec!["attach", "--netns", &netns, "--hostname", "vm", "--queues", &queues];
        args.extend(["--resolv-conf", &resolv_conf]);
        args.extend(setup.attach);
        let port = agent.json(&args).unwrap();
        let mut spec = GuestSpec::new("tap0", &topology.pod_mac().unwrap());
        spec.dhcp = setup.pod.ipv4.then_some(setup.client);
        spec.queues = setup.queues;
        let guest = Guest::boot(&image, &topology.pod, &spec).unwrap();
        let lease = spec.dhcp.map(|_| guest.wait_lease(PATIENCE).unwrap().0);
        guest.wait_ready(PATIENCE).unwrap();
        let id = port["id"].as_str().unwrap().to_owned();
        Self { guest, lease, agent, topology, id }
    }

    /// The port as the agent shows it now.
    pub(crate) fn port(&self) -> Value {
        self.agent.json(&["show", &self.id]).unwrap()
    }

    /// A counter of the port, by JSON pointer below `counters`.
    pub(crate) fn counter(&self, pointer: &str) -> u64 {
        self.port().pointer(&format!("/counters{pointer}")).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Datagrams from the node that the guest sends back.
    pub(crate) fn flood(&self) -> Flood {
        Flood::start(&self.topology.node, SocketAddr::from((POD4, ECHO_PORT)), 500).unwrap()
    }
}

/// Waits until `more` datagrams have come back.
pub(crate) fn returned(flood: &Flood, more: u64) {
    let goal = flood.so_far().1 + more;
    poll::wait_until("datagrams to come back from the guest", PATIENCE, || {
        (flood.so_far().1 >= goal).then_some(())
    })
    .unwrap();
}
