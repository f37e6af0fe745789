// SPDX-License-Identifier: MIT OR Apache-2.0
//! A containerd, an agent on its node that hears of its pods, and the looks that the tests take.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    agent::Agent,
    containerd::{Containerd, Release},
    lease::{DhcpClient, Lease},
    netns::Netns,
    poll,
    stand_in::{StandIn, StandInSpec},
};
use serde_json::Value;

use crate::cri::Kubelet;

/// Generous: the machine may be busy with the other tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How the agent hears of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Cri,
    Nri,
}

/// A node.
pub(crate) struct Scene {
    // Dropped in this order: an agent that outlived the pods would clean up after them.
    pub(crate) agent: Agent,
    pub(crate) kubelet: Kubelet,
    pub(crate) containerd: Containerd,
}

impl Scene {
    /// Nothing runs yet.
    pub(crate) fn prepare(release: Release, by: By) -> Result<Self> {
        let containerd = Containerd::prepare(release)?;
        let config = containerd.dir().join("netagent.toml");
        let section = match by {
            By::Cri => format!("[cri]\nsocket = {:?}\n", containerd.socket()),
            By::Nri => format!("[nri]\nsocket = {:?}\n", containerd.nri_socket()),
        };
        fs::write(&config, section).with_context(|| format!("cannot write {}", config.display()))?;
        let agent = Agent::builder()
            .netns(containerd.node())
            .arg("--config")
            .arg(config.display().to_string())
            .prepare()?;
        let kubelet = Kubelet::connect(&containerd.socket(), containerd.dir())?;
        Ok(Self { agent, kubelet, containerd })
    }

    /// Both run.
    pub(crate) fn start(release: Release, by: By) -> Result<Self> {
        let mut scene = Self::prepare(release, by)?;
        scene.containerd.run()?;
        scene.agent.start()?;
        Ok(scene)
    }

    /// Starts the runtime again, on what it left.
    pub(crate) fn runtime_again(&mut self) -> Result<()> {
        self.containerd.run()?;
        // The old connection would learn only from its next call that it is broken.
        self.kubelet = Kubelet::connect(&self.containerd.socket(), self.containerd.dir())?;
        Ok(())
    }

    /// All ports.
    pub(crate) fn ports(&self) -> Result<Vec<Value>> {
        let list = self.agent.json(&["status"])?;
        list.as_array().cloned().ok_or_else(|| anyhow!("no list of ports: {list}"))
    }

    /// The port of a sandbox, when it is there and ready.
    pub(crate) fn ready_port(&self, sandbox: &str) -> Result<Option<Value>> {
        let mut ports = self.ports()?;
        ports.retain(|port| port["origin"]["sandbox"] == sandbox && port["state"] == "ready");
        if ports.len() > 1 {
            bail!("several ports of sandbox {sandbox}: {ports:?}");
        }
        Ok(ports.pop())
    }

    /// The port of a sandbox as soon as it is ready.
    pub(crate) fn wait_port(&self, sandbox: &str) -> Result<Value> {
        poll::try_until("a port of the sandbox to be ready", SOON, || self.ready_port(sandbox))
            .with_context(|| format!("the ports: {:?}", self.ports().ok()))
    }

    /// Waits for words in the agent's log.
    pub(crate) fn wait_log(&self, words: &str) -> Result<()> {
        self.wait_log_times(words, 1)
    }

    /// Waits until words are that often in the agent's log.
    pub(crate) fn wait_log_times(&self, words: &str, times: usize) -> Result<()> {
        let what = format!("`{words}` in the agent's log, {times} times");
        poll::wait_until(&what, SOON, || (self.agent.log().matches(words).count() >= times).then_some(()))
    }

    /// What the agent keeps of ports, on disk and on bpffs.
    pub(crate) fn kept(&self) -> Result<Vec<PathBuf>> {
        let asks = self.agent.dir().join("ports");
        let mut kept = self.agent.bpffs().pins()?;
        for entry in fs::read_dir(&asks).with_context(|| format!("cannot list {}", asks.display()))? {
            kept.push(entry?.path());
        }
        Ok(kept)
    }
}

/// The network namespace of a port.
pub(crate) fn pod_netns(port: &Value) -> Result<Netns> {
    let path = port["netns"].as_str().ok_or_else(|| anyhow!("no netns in {port}"))?;
    Ok(Netns::of_others(path))
}

/// A stand-in VM on a port's tap.
pub(crate) fn guest(port: &Value) -> Result<StandIn> {
    let text = |pointer: &str| {
        port.pointer(pointer).and_then(Value::as_str).ok_or_else(|| anyhow!("no {pointer} in {port}"))
    };
    StandIn::start(&pod_netns(port)?, &StandInSpec::new(text("/tap/ifname")?, text("/guest/mac")?))
}

/// What the VM leases.
pub(crate) fn lease(guest: &StandIn) -> Result<Lease> {
    guest.dhcp(DhcpClient::Udhcpc)?.wait_lease(SOON)
}

/// The pod's own address, as the CNI plugin gave it.
pub(crate) fn pod_address(port: &Value) -> Result<Ipv4Addr> {
    let shown = pod_netns(port)?.ip_json("-4 address show eth0")?;
    let address = shown.pointer("/0/addr_info/0/local").and_then(Value::as_str);
    Ok(address.ok_or_else(|| anyhow!("no address in {shown}"))?.parse()?)
}

/// Pings until an answer comes.
pub(crate) fn wait_ping(from: &Netns, to: Ipv4Addr) -> Result<()> {
    let to = to.to_string();
    poll::try_until(&format!("an answer of {to} to a ping"), SOON, || {
        Ok((from.exec(&["ping", "-n", "-c", "1", "-W", "2", &to])?.code == 0).then_some(()))
    })
}
