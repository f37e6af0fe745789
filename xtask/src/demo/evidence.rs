// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel says, asked by means that know nothing of netagent: `ip`, `tc`, `bpftool`, a bpf(2) query.

use anyhow::{Result, bail};
use netagent_tests::{
    agent::Agent,
    attached::{self, Attached},
    topology::{POD_LINK, Topology},
};
use serde_json::Value;

use super::story::TAP;

/// The pod's kernel state while the port is up.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) programs: Vec<Attached>,
    /// Names of all links in the pod.
    pub(super) links: Vec<String>,
    /// Number of pins in the agent's bpffs.
    pub(super) pins: usize,
    /// The pod link's addresses.
    pub(super) addresses: Vec<String>,
}

impl Evidence {
    /// Asks, and fails when there is a bridge, a program on another link, or an address has moved.
    pub(super) fn gather(topology: &Topology, agent: &Agent, before: &[String]) -> Result<Self> {
        let programs = attached::programs(&topology.pod)?;
        if let Some(foreign) = programs.iter().find(|one| one.link != TAP && one.link != POD_LINK) {
            bail!("a program on a link that is none of the port's: {foreign:?}");
        }
        if programs.is_empty() {
            bail!("the kernel has no program on the links of the pod");
        }
        let bridges = names(&topology.pod.ip_json("link show type bridge")?);
        if !bridges.is_empty() {
            bail!("there is a bridge in the pod: {}", bridges.join(", "));
        }
        let addresses = addresses(topology)?;
        if addresses != before {
            bail!("the pod link's addresses changed from {before:?} to {addresses:?}");
        }
        let links = names(&topology.pod.ip_json("link show")?);
        Ok(Self { programs, links, pins: agent.bpffs().pins()?.len(), addresses })
    }
}

/// The pod link's global addresses, as in `10.88.0.5/24`.
pub(super) fn addresses(topology: &Topology) -> Result<Vec<String>> {
    let links = topology.pod.ip_json(&format!("address show dev {POD_LINK} scope global"))?;
    let listed = links.pointer("/0/addr_info").and_then(Value::as_array).into_iter().flatten();
    Ok(listed
        .filter_map(|entry| {
            Some(format!("{}/{}", entry.get("local")?.as_str()?, entry.get("prefixlen")?.as_u64()?))
        })
        .collect())
}

/// What a detach should have removed from the pod and has not.
pub(super) fn left_behind(topology: &Topology) -> Result<Vec<String>> {
    let mut left: Vec<String> = attached::programs(&topology.pod)?
        .into_iter()
        .map(|one| format!("program {} on {}", one.program, one.link))
        .collect();
    let links = names(&topology.pod.ip_json("link show")?);
    left.extend(
        links.into_iter().filter(|link| link != "lo" && link != POD_LINK).map(|link| format!("link {link}")),
    );
    let qdiscs = topology.pod.tc_json("qdisc show")?;
    left.extend(
        qdiscs
            .as_array()
            .into_iter()
            .flatten()
            .filter(|qdisc| matches!(qdisc["kind"].as_str(), Some("clsact" | "ingress")))
            .map(|qdisc| format!("qdisc {} on {}", qdisc["kind"], qdisc["dev"])),
    );
    Ok(left)
}

fn names(links: &Value) -> Vec<String> {
    // `ip -j link show type X` prints an empty object for each link of another type.
    links
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|link| Some(link.get("ifname")?.as_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_of_other_types_are_empty_objects() {
        assert_eq!(names(&json!([{}, {"ifname": "br0"}, {}])), ["br0"]);
    }
}
