// SPDX-License-Identifier: MIT OR Apache-2.0
//! The snapshot rule: what a source lists, against the ports that it asked for. Nothing is taken back before the source
//! has listed everything once.
//!
//! A source that has just started, or has lost its connection, knows less than there is. Ports outlive it, so what it
//! does not name is not yet gone. And what it names but cannot look at now is as little gone.

use std::collections::BTreeMap;

use super::{ids::PortId, origin::Source, spec::PortSpec};

#[cfg(test)]
mod tests;

/// What a source has listed so far, by sandbox: its container runtime's id of it, or a pod's UID where the source knows
/// no sandboxes. A pod's name would not do: the next pod may have it.
#[derive(Clone, Debug)]
pub struct Listing {
    source: Source,
    sandboxes: BTreeMap<String, Claim>,
    whole: bool,
}

/// What a source wants for one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// These ports and no others.
    Asks(Vec<PortSpec>),
    /// The sandbox is there, and cannot be looked at now: whatever it has, it keeps.
    Unclear,
}

/// What is to be done so that the ports are those which the source asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Asked for, and not there.
    pub attach: Vec<PortSpec>,
    /// There by this source, and asked for otherwise now. The namespace may be another one with the same number.
    pub change: Vec<PortSpec>,
    /// There by this source, and not asked for any more.
    pub detach: Vec<PortId>,
    /// Asked for, and there by another source. They are that one's; people may want to know.
    pub taken: Vec<(PortId, Source)>,
}

impl Difference {
    /// Whether nothing is to be done.
    pub fn is_nothing(&self) -> bool {
        self.attach.is_empty() && self.change.is_empty() && self.detach.is_empty()
    }
}

impl Listing {
    /// Of a source that has not said anything.
    pub fn new(source: Source) -> Self {
        Self { source, sandboxes: BTreeMap::new(), whole: false }
    }

    /// The source lists one sandbox: a new one, or what it wants for it now.
    pub fn put(&mut self, sandbox: impl Into<String>, claim: Claim) {
        self.sandboxes.insert(sandbox.into(), claim);
    }

    /// The source says that a sandbox is gone.
    pub fn remove(&mut self, sandbox: &str) {
        self.sandboxes.remove(sandbox);
    }

    /// The source has listed all that there is.
    pub fn complete(&mut self, sandboxes: BTreeMap<String, Claim>) {
        self.sandboxes = sandboxes;
        self.whole = true;
    }

    /// Events may have been missed. What was listed is still wanted, and nothing is taken back until the next
    /// [`complete`](Self::complete).
    pub fn doubt(&mut self) {
        self.whole = false;
    }

    /// Whether what is not listed is gone.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Compares with all ports of the node, those that are on their way out left out.
    pub fn against<'a>(&self, ports: impl IntoIterator<Item = &'a PortSpec>) -> Difference {
        let mut there: BTreeMap<PortId, &PortSpec> =
            ports.into_iter().filter(|port| port.wanted).map(|port| (port.id(), port)).collect();
        let mut difference = Difference::default();
        for ask in self.asks().into_values() {
            match there.remove(&ask.id()) {
                None => difference.attach.push(ask.clone()),
                Some(port) if port.origin.source != self.source => {
                    difference.taken.push((ask.id(), port.origin.source));
                }
                Some(port) if port.asks_the_same(ask) => {}
                Some(_) => difference.change.push(ask.clone()),
            }
        }
        if self.whole {
            let gone = there.into_iter().filter(|(_, port)| {
                port.origin.source == self.source && !self.is_unclear(&port.origin.sandbox)
            });
            difference.detach = gone.map(|(id, _)| id).collect();
        }
        difference
    }

    /// Every port that is asked for, once: a namespace that two sandboxes share is the first one's.
    fn asks(&self) -> BTreeMap<PortId, &PortSpec> {
        let mut asks = BTreeMap::new();
        for claim in self.sandboxes.values() {
            let Claim::Asks(specs) = claim else { continue };
            for spec in specs {
                asks.entry(spec.id()).or_insert(spec);
            }
        }
        asks
    }

    fn is_unclear(&self, sandbox: &str) -> bool {
        matches!(self.sandboxes.get(sandbox), Some(Claim::Unclear))
    }
}
