// SPDX-License-Identifier: MIT OR Apache-2.0
//! A port of the real agent, attached by its own command line.

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{
    agent::Agent,
    attached, ethtool,
    netns::Netns,
    topology::{HOST_LINK, POD_LINK, Topology},
};
use serde_json::Value;

use crate::bench::{
    bpf::{attach::Attacher, program::Program},
    scene::{Programs, TAP, Wired, pod},
};

/// What a port is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// As `attach --tier` takes it.
    pub(super) tier: &'static str,
    /// Whether the guard holds its rules.
    pub(super) guard: bool,
}

/// What the host peer has to be for tier `xdp`.
const FOR_XDP: [(&str, bool); 5] = [
    ("tx-checksum-ip-generic", false),
    ("tx-checksum-sctp", false),
    ("tx-vlan-hw-insert", false),
    ("tx-vlan-stag-hw-insert", false),
    ("rx-gro", true),
];

/// The port, or an error if the agent chose another tier: a figure must stand for what it is called.
pub(super) fn build(attacher: &Attacher, agent: &Agent, ask: &Ask) -> Result<Wired> {
    let topology = pod()?;
    if ask.tier == "xdp" {
        ethtool::switch(&topology.node, HOST_LINK, &FOR_XDP)?;
    }
    attach(attacher, agent, &topology, ask)?;
    let programs = Programs {
        from_vm: Some(program_on(&topology.pod, TAP, ask)?),
        to_vm: Some(program_on(&topology.pod, POD_LINK, ask)?),
    };
    Ok(Wired { programs, ..Wired::plain(topology)? })
}

fn attach(attacher: &Attacher, agent: &Agent, topology: &Topology, &Ask { tier, guard }: &Ask) -> Result<()> {
    let netns = topology.pod.path().display().to_string();
    let resolv_conf = topology.resolv_conf().display().to_string();
    let mut words = vec![
        "attach",
        "--netns",
        &netns,
        "--pod-link",
        POD_LINK,
        "--tap",
        TAP,
        "--tier",
        tier,
        "--resolv-conf",
        &resolv_conf,
        "--hostname",
        "bench",
    ];
    if !guard {
        words.extend(["--guard-off", "all"]);
    }
    let port = agent.json(&words)?;
    let chosen = |key: &str| port.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if chosen("/datapath/tier") != tier {
        bail!(
            "asked for tier {tier}, the agent took `{}`: {}",
            chosen("/datapath/tier"),
            chosen("/datapath/reason")
        );
    }
    let hook = chosen("/datapath/hook");
    if hook != attacher.hook().to_string() {
        bail!("the agent attaches by {hook}, the comparison by {}: they cannot be compared", attacher.hook());
    }
    Ok(())
}

/// The one program that comes first on what enters by `link`.
fn program_on(netns: &Netns, link: &str, ask: &Ask) -> Result<Program> {
    let hook = if ask.tier == "xdp" { "driver" } else { "/ingress" };
    let all = attached::programs(netns).context("cannot list the programs on the pod's links")?;
    let mut here = all.iter().filter(|one| one.link == link && one.hook.ends_with(hook));
    match (here.next(), here.next()) {
        (Some(one), None) => Program::by_id(one.id),
        (None, _) => Err(anyhow!("no program on the ingress of {link} in {}", netns.name())),
        (Some(_), Some(_)) => {
            Err(anyhow!("more than one program on the ingress of {link} in {}", netns.name()))
        }
    }
}
