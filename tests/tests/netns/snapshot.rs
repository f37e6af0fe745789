// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that a namespace's network is, as independent tools see it: to compare before and after.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{attached, netns::Netns};
use serde_json::Value;

use crate::nftables;

/// Links, addresses, routes, qdiscs, filters, BPF programs and nftables of a namespace, by what they are of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot(BTreeMap<String, Value>);

impl Snapshot {
    /// Looks at everything.
    pub(crate) fn take(netns: &Netns) -> Result<Self> {
        let mut parts = BTreeMap::new();
        let links = netns.ip_json("link show")?;
        for link in links.as_array().into_iter().flatten() {
            let name = link["ifname"].as_str().ok_or_else(|| anyhow!("a link without a name: {link}"))?;
            for side in ["ingress", "egress"] {
                let filters = netns.tc_json(&format!("filter show dev {name} {side}"))?;
                parts.insert(format!("{side} filters of {name}"), filters);
            }
        }
        parts.insert("links".to_owned(), without_clocks(links));
        parts.insert("addresses".to_owned(), without_clocks(netns.ip_json("address show")?));
        for family in ["-4", "-6"] {
            let routes = netns.ip_json(&format!("{family} route show table all"))?;
            parts.insert(format!("{family} routes"), without_clocks(routes));
            parts.insert(format!("{family} rules"), netns.ip_json(&format!("{family} rule show"))?);
        }
        parts.insert("qdiscs".to_owned(), netns.tc_json("qdisc show")?);
        let programs = attached::programs(netns)?.iter().map(|one| format!("{one:?}").into()).collect();
        parts.insert("programs".to_owned(), Value::Array(programs));
        let tables = nftables::tables(netns)?.into_iter().map(Value::from).collect();
        parts.insert("nftables".to_owned(), Value::Array(tables));
        Ok(Self(parts))
    }

    /// What `other` has changed, in words; empty when nothing.
    pub(crate) fn changes(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys());
        let mut changes: Vec<String> = keys
            .filter(|key| self.0.get(*key) != other.0.get(*key))
            .map(|key| format!("{key}: {:?} became {:?}", self.0.get(key), other.0.get(key)))
            .collect();
        changes.sort();
        changes.dedup();
        changes
    }

    /// The part with this name.
    pub(crate) fn part(&self, name: &str) -> Result<&Value> {
        self.0.get(name).with_context(|| format!("the snapshot has no {name}"))
    }
}

/// Without the fields that count down by themselves (bridge timers, life times).
fn without_clocks(mut value: Value) -> Value {
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("_timer") && name != "expires");
            fields.values_mut().for_each(strip);
        }
        _ => {}
    }
}
