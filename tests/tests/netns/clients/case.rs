// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client in one pod: built, attached, recorded; what the guest came to is waited for and then used.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{
    agent::Agent,
    capture::Capture,
    client::{Client, Families, System},
    dialogue::Message,
    exchange, poll,
    stand_in::{GUEST_LINK, StandIn},
    topology::{Layout, OUTSIDE6, POD4, POD6, Pod, Topology},
};

use super::differences::differences;
use crate::scene::{self, SOON, wait_ping};

/// DHCP of both families, router discovery.
const FILTER: &str = "udp port 67 or udp port 68 or udp port 546 or udp port 547 or icmp6";
/// Enough for segments of full size both ways.
const BYTES: usize = 100_000;

pub(crate) struct Case<'a> {
    // Dropped in this order: the client first, the pod last.
    pub(crate) system: System,
    pub(crate) capture: Capture,
    pub(crate) guest: StandIn,
    pub(crate) topology: Topology,
    pub(crate) client: Client,
    agent: &'a Agent,
}

impl<'a> Case<'a> {
    /// A pod that is attached, and a guest whose client has not been started.
    pub(crate) fn prepare(agent: &'a Agent, pod: Pod, client: Client, flags: &[&str]) -> Result<Self> {
        Self::prepare_told(agent, pod, client, flags, |_| Ok(()))
    }

    /// As [`Case::prepare`]; `tell` writes the pod's resolv.conf anew.
    pub(crate) fn prepare_told(
        agent: &'a Agent,
        pod: Pod,
        client: Client,
        flags: &[&str],
        tell: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let families = Families { ipv4: pod.ipv4, ipv6: pod.ipv6 };
        let topology = pod.build()?;
        tell(topology.resolv_conf())?;
        scene::attach(agent, &topology, flags)?;
        let guest = scene::guest(agent, &topology)?;
        let capture = Capture::start(&guest.guest, GUEST_LINK, FILTER)?;
        let system = System::install(client, &guest.guest, families)?;
        Ok(Self { system, capture, guest, topology, client, agent })
    }

    /// As [`Case::prepare`], with the client started and the guest configured as the pod is.
    pub(crate) fn boot(agent: &'a Agent, pod: Pod, client: Client, flags: &[&str]) -> Result<Self> {
        let mut case = Self::prepare(agent, pod, client, flags)?;
        case.system.start()?;
        case.wait_inherited()?;
        Ok(case)
    }

    /// Waits until the guest has what the pod has.
    pub(crate) fn wait_inherited(&self) -> Result<()> {
        let mut last = Vec::new();
        let same = poll::try_until("the guest to be configured as the pod", SOON, || {
            last = differences(self)?;
            Ok(last.is_empty().then_some(()))
        });
        if same.is_err() && !last.is_empty() {
            bail!("{}\n  it said: {}\n{}", last.join("; "), self.words()?, tail(&self.system.log()));
        }
        same
    }

    /// All messages so far.
    pub(crate) fn messages(&self) -> Result<Vec<Message>> {
        Ok(self.capture.frames()?.iter().filter_map(|frame| Message::of_frame(frame)).collect())
    }

    /// Waits until these messages were exchanged in this order, after the first `seen`; others may stand between them.
    pub(crate) fn wait_said(&self, seen: usize, wanted: &[Message]) -> Result<()> {
        self.wait_said_within(SOON, seen, wanted)
    }

    /// As [`Case::wait_said`], for what takes longer.
    pub(crate) fn wait_said_within(&self, time: Duration, seen: usize, wanted: &[Message]) -> Result<()> {
        let what = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        poll::try_until(&what, time, || {
            let mut missing = wanted.iter();
            let mut next = missing.next();
            for message in self.messages()?.iter().skip(seen) {
                if Some(message) == next {
                    next = missing.next();
                }
            }
            Ok(next.is_none().then_some(()))
        })
        .with_context(|| format!("it said: {}", self.words().unwrap_or_default()))
    }

    /// Waits until the agent serves the guest this address.
    pub(crate) fn wait_served(&self, address: &str) -> Result<()> {
        poll::try_until("the agent to serve the new address", SOON, || {
            let port = scene::show(self.agent, &self.topology)?;
            let addresses = port["guest"]["addresses"].as_array().context("no addresses")?;
            let first = addresses.first().and_then(serde_json::Value::as_str).unwrap_or_default();
            Ok(first.starts_with(&format!("{address}/")).then_some(()))
        })
    }

    /// All messages so far, as words.
    pub(crate) fn words(&self) -> Result<String> {
        Ok(self.messages()?.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    /// Uses what the pod could reach: pings and TCP from the guest to each target, and pings back.
    pub(crate) fn use_network(&self) -> Result<()> {
        let Topology { node, spec, .. } = &self.topology;
        let mut targets = Vec::new();
        if spec.ipv4 {
            targets.extend(spec.layout.targets4());
        }
        if spec.ipv6 && self.client.speaks_dhcpv6() {
            let beyond = spec.layout == Layout::NoDefault && self.client == Client::Dhcpcd;
            // What it takes no route to (differences.rs).
            let reached = |target: &IpAddr| !beyond || *target != IpAddr::V6(OUTSIDE6);
            targets.extend(spec.layout.targets6().into_iter().filter(reached));
        }
        for target in targets {
            let reached = || -> Result<()> {
                wait_ping(&self.guest.guest, &target.to_string())?;
                exchange::tcp(node, &self.guest.guest, SocketAddr::from((target, 0)), BYTES)
            };
            reached().with_context(|| format!("from the guest to {target}"))?;
        }
        let own = [(spec.ipv4, IpAddr::from(POD4)), (spec.ipv6 && self.client.speaks_dhcpv6(), POD6.into())];
        for (_, address) in own.into_iter().filter(|(has, _)| *has) {
            wait_ping(node, &address.to_string())?;
        }
        Ok(())
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
