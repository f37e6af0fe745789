// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pod, an agent of its own, and the requests that most tests make.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    agent::{Agent, AgentBuilder},
    lease::{DhcpClient, Lease},
    netns::Netns,
    ping::Ping,
    poll,
    process::Finished,
    stand_in::{GUEST_LINK, StandIn, StandInSpec},
    topology::{GATEWAY4, GATEWAY6, POD4, POD6, Pod, Topology},
};
use serde_json::Value;

/// The tap of every port that does not ask for another one.
pub(crate) const TAP: &str = "tap0";
/// The host name that the guest is given.
pub(crate) const HOSTNAME: &str = "vm-one";
/// Generous: the machine may be busy with the other tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A pod and an agent.
#[derive(Debug)]
pub(crate) struct Scene {
    // Dropped in this order: an agent that outlived its pod would clean up after it.
    pub(crate) agent: Agent,
    pub(crate) topology: Topology,
}

impl Scene {
    /// The usual pod, and an agent without flags.
    pub(crate) fn new() -> Result<Self> {
        Self::with(Pod::default(), Agent::builder())
    }

    /// A pod and an agent as they are given.
    pub(crate) fn with(pod: Pod, agent: AgentBuilder) -> Result<Self> {
        let topology = pod.build()?;
        Ok(Self { agent: agent.start()?, topology })
    }

    /// The pod's namespace.
    pub(crate) fn pod(&self) -> &Netns {
        &self.topology.pod
    }

    /// The node's namespace.
    pub(crate) fn node(&self) -> &Netns {
        &self.topology.node
    }

    /// `netagent attach` of the pod with more `flags`, whatever comes of it.
    pub(crate) fn try_attach(&self, flags: &[&str]) -> Result<Finished> {
        try_attach(&self.agent, &self.topology, flags)
    }

    /// The port, ready.
    pub(crate) fn attach(&self, flags: &[&str]) -> Result<Value> {
        attach(&self.agent, &self.topology, flags)
    }

    /// The steps that attaching would take.
    pub(crate) fn plan(&self, flags: &[&str]) -> Result<Vec<String>> {
        let words = request("plan", &self.topology, flags)?;
        let plan = self.agent.json(&borrowed(&words))?;
        let steps = plan["steps"].as_array().ok_or_else(|| anyhow!("no steps in {plan}"))?;
        Ok(steps.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Takes the pod's ports off; their ids.
    pub(crate) fn detach(&self) -> Result<Vec<String>> {
        detach(&self.agent, &self.topology)
    }

    /// The pod's port as `netagent show` prints it.
    pub(crate) fn show(&self) -> Result<Value> {
        show(&self.agent, &self.topology)
    }

    /// A stand-in guest with the port's MAC on the usual tap.
    pub(crate) fn guest(&self) -> Result<StandIn> {
        guest(&self.agent, &self.topology)
    }

    /// Waits until the port is as `fits` wants it.
    pub(crate) fn wait_port(&self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Result<Value> {
        poll::try_until(what, SOON, || Ok(Some(self.show()?).filter(|port| fits(port))))
            .with_context(|| format!("the port is {:?}", self.show().ok()))
    }

    /// Files in which the agent keeps what was asked for.
    pub(crate) fn state_files(&self) -> Result<Vec<PathBuf>> {
        state_files(&self.agent)
    }
}

/// `netagent attach` of a pod, whatever comes of it.
pub(crate) fn try_attach(agent: &Agent, topology: &Topology, flags: &[&str]) -> Result<Finished> {
    let words = request("attach", topology, flags)?;
    agent.cli(&borrowed(&words))
}

/// The port of a pod, ready.
pub(crate) fn attach(agent: &Agent, topology: &Topology, flags: &[&str]) -> Result<Value> {
    let words = request("attach", topology, flags)?;
    let port = agent.json(&borrowed(&words))?;
    if port["state"] != "ready" {
        bail!("attach ended with 0 and the port is not ready: {port}");
    }
    Ok(port)
}

/// Takes a pod's ports off; their ids.
pub(crate) fn detach(agent: &Agent, topology: &Topology) -> Result<Vec<String>> {
    let reply = agent.json(&["detach", "--netns", path(&topology.pod)?])?;
    let ids = reply["detached"].as_array().ok_or_else(|| anyhow!("no ids in {reply}"))?;
    Ok(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// A pod's port as `netagent show` prints it.
pub(crate) fn show(agent: &Agent, topology: &Topology) -> Result<Value> {
    agent.json(&["show", "--netns", path(&topology.pod)?])
}

/// A stand-in guest with the MAC that the port serves.
pub(crate) fn guest(agent: &Agent, topology: &Topology) -> Result<StandIn> {
    let port = show(agent, topology)?;
    let mac = port["guest"]["mac"].as_str().ok_or_else(|| anyhow!("no guest MAC in {port}"))?;
    StandIn::start(&topology.pod, &StandInSpec::new(TAP, mac))
}

/// Files in which an agent keeps what was asked for.
pub(crate) fn state_files(agent: &Agent) -> Result<Vec<PathBuf>> {
    let directory = agent.dir().join("ports");
    let mut files = Vec::new();
    if !directory.exists() {
        // A clean-up has removed it.
        return Ok(files);
    }
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))? {
        files.push(entry.context("cannot list the state directory")?.path());
    }
    Ok(files)
}

/// A namespace's path as an argument.
pub(crate) fn path(netns: &Netns) -> Result<&str> {
    netns.path().to_str().ok_or_else(|| anyhow!("{} is not UTF-8", netns.path().display()))
}

/// Leases in the guest; the client has configured address and routes.
pub(crate) fn lease(guest: &StandIn, client: DhcpClient) -> Result<Lease> {
    guest.dhcp(client)?.wait_lease(SOON)
}

/// Leases, and gives the guest the pod's IPv6 address by hand.
pub(crate) fn configure(guest: &StandIn) -> Result<()> {
    lease(guest, DhcpClient::Udhcpc)?;
    configure_ipv6(guest)
}

/// The pod's IPv6 address and routes, by hand.
pub(crate) fn configure_ipv6(guest: &StandIn) -> Result<()> {
    guest.guest.ip(&format!("address replace {POD6}/128 dev {GUEST_LINK} nodad"))?;
    guest.guest.ip(&format!("route replace {GATEWAY6}/128 dev {GUEST_LINK}"))?;
    guest.guest.ip(&format!("-6 route replace default via {GATEWAY6} dev {GUEST_LINK}"))?;
    Ok(())
}

/// Pings once from `from` until an answer comes: paths settle (ARP, a link that has just come up) in their own time.
pub(crate) fn wait_ping(from: &Netns, to: &str) -> Result<()> {
    poll::try_until(&format!("an answer of {to} to a ping in {}", from.name()), SOON, || {
        let done = from.exec(&["ping", "-n", "-c", "1", "-W", "2", to])?;
        Ok((done.code == 0).then_some(()))
    })
}

/// Pings and fails unless every request is answered.
pub(crate) fn ping(from: &Netns, to: &str) -> Result<()> {
    wait_ping(from, to)?;
    let ping = Ping::parse(&from.exec(&["ping", "-n", "-c", "5", "-i", "0.2", "-W", "5", to])?.stdout)?;
    if ping.received != ping.sent {
        bail!("{} of {} pings from {} to {to} were answered", ping.received, ping.sent, from.name());
    }
    Ok(())
}

/// Pings both ways, both families.
pub(crate) fn ping_both_ways(node: &Netns, guest: &Netns) -> Result<()> {
    for (from, to) in [
        (node, POD4.to_string()),
        (guest, GATEWAY4.to_string()),
        (node, POD6.to_string()),
        (guest, GATEWAY6.to_string()),
    ] {
        ping(from, &to)?;
    }
    Ok(())
}

/// Whether the pod's own address is what was leased.
pub(crate) fn is_pods(address: Ipv4Addr) -> bool {
    address == POD4
}

/// A number of the port's JSON, as in `/counters/from_vm/packets`.
pub(crate) fn number(port: &Value, pointer: &str) -> Result<u64> {
    port.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| anyhow!("no number at {pointer} of {port}"))
}

fn request(verb: &str, topology: &Topology, flags: &[&str]) -> Result<Vec<String>> {
    let resolv_conf = topology.resolv_conf().to_str().ok_or_else(|| anyhow!("path is not UTF-8"))?;
    let mut words = vec![verb, "--netns", path(&topology.pod)?, "--resolv-conf", resolv_conf];
    if !flags.contains(&"--hostname") {
        words.extend(["--hostname", HOSTNAME]);
    }
    words.extend(flags);
    Ok(words.into_iter().map(str::to_owned).collect())
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
