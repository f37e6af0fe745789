// SPDX-License-Identifier: MIT OR Apache-2.0
//! That nothing of the ports is left when they are gone: links, addresses, programs and qdiscs in their pods, pins, files.

use std::{fs, io};

use anyhow::{Context as _, Result};
use netagent_tests::{agent::Agent, attached, netns::Netns};
use nix::ifaddrs::getifaddrs;

use crate::bench::{crowd::Crowd, hands::each};

/// Pods that are looked at at the same time.
const HANDS: usize = 8;

/// What is there while there are no ports.
#[derive(Debug)]
pub(super) struct Before {
    pods: Vec<Vec<String>>,
}

impl Before {
    pub(super) fn look(crowd: &Crowd) -> Result<Self> {
        Ok(Self { pods: each(HANDS, crowd.pods.len(), |at| links(&crowd.pods[at].netns))? })
    }

    /// What there is now beyond that, or no more; in words.
    pub(super) fn changed(&self, crowd: &Crowd, agent: &Agent) -> Result<Vec<String>> {
        let pods = each(HANDS, crowd.pods.len(), |at| {
            let netns = &crowd.pods[at].netns;
            let before = &self.pods[at];
            let mut changed = difference(netns.name(), before, &links(netns)?);
            let programs = attached::programs(netns)?;
            changed.extend(programs.iter().map(|one| format!("{}: program {one:?}", netns.name())));
            Ok(changed)
        })?;
        let mut changed: Vec<String> = pods.into_iter().flatten().collect();
        let pins = agent
            .bpffs()
            .pins()?
            .into_iter()
            .filter(|pin| pin.components().any(|part| part.as_os_str() == "ports"));
        changed.extend(pins.map(|pin| format!("pin {}", pin.display())));
        changed.extend(asks(agent)?);
        Ok(changed)
    }
}

/// Links with their flags and addresses, and qdiscs.
fn links(netns: &Netns) -> Result<Vec<String>> {
    let here = || -> nix::Result<Vec<String>> {
        Ok(getifaddrs()?
            .map(|one| {
                let address = one.address.map(|address| address.to_string()).unwrap_or_default();
                format!("link {} {:?} {address}", one.interface_name, one.flags)
            })
            .collect())
    };
    let mut all =
        netns.run_inside(here)?.with_context(|| format!("cannot list links in {}", netns.name()))?;
    let qdiscs = netns.tc_json("qdisc show")?;
    all.extend(
        qdiscs.as_array().into_iter().flatten().map(|one| format!("qdisc {} on {}", one["kind"], one["dev"])),
    );
    all.sort();
    Ok(all)
}

fn difference(pod: &str, before: &[String], now: &[String]) -> Vec<String> {
    let new = now.iter().filter(|one| !before.contains(one)).map(|one| format!("{pod}: {one} is new"));
    let gone = before.iter().filter(|one| !now.contains(one)).map(|one| format!("{pod}: {one} is gone"));
    new.chain(gone).collect()
}

/// What was asked for, as the agent keeps it.
fn asks(agent: &Agent) -> Result<Vec<String>> {
    let folder = agent.dir().join("ports");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    entries.map(|entry| Ok(format!("file {}", entry?.path().display()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_and_what_is_gone_is_told() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let told = difference("pod", &words(&["a", "b"]), &words(&["b", "c"]));
        assert_eq!(told, ["pod: c is new", "pod: a is gone"]);
        assert!(difference("pod", &words(&["a"]), &words(&["a"])).is_empty());
    }
}
