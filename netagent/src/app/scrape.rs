// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the node for a scrape. Counters that cannot be read are left out of it.

use std::sync::atomic::{AtomicU64, Ordering};

use netagent_common::{
    ABI_VERSION,
    counters::{DropReason, PortCounters},
};

use crate::{
    dhcp,
    discovery::{Obstacle, Pods},
    reconcile::{PortLookup, PortState, Ports},
    telemetry::{AgentSample, PortFacts, PortSample, Said, Sample, SourceSample},
};

/// What is dropped on the way to the agent.
const PUNT_DROPS: [DropReason; 2] = [DropReason::PuntRate, DropReason::PuntFull];

/// Reads ports, and remembers what must never fall.
pub(super) struct Scrape {
    ports: Ports,
    sources: Vec<Pods>,
    punt_drops: [AtomicU64; PUNT_DROPS.len()],
}

impl Scrape {
    pub(super) fn new(ports: Ports, sources: Vec<Pods>) -> Self {
        Self { ports, sources, punt_drops: Default::default() }
    }

    pub(super) async fn read(&self) -> Sample {
        let parts = self.ports.parts();
        // Before the living: a port that goes in between is missed until the next time, not counted twice.
        let departed = parts.datapath.maps().departed();
        let tap_drops = self.ports.tap_drops().await;
        let lookups = self.ports.list();
        let states = PortState::ALL.map(|state| {
            let ports = lookups.iter().filter(|port| port.status.state == state).count();
            (state.as_str(), ports as u64)
        });
        let ports: Vec<_> = lookups
            .into_iter()
            .map(|port| PortSample { tap_drops: tap_drops.get(&port.id).copied(), ..self.sample(port) })
            .collect();
        let agent = AgentSample {
            states: states.to_vec(),
            passes: parts.tally.durations(),
            failures: parts.tally.failures(),
            punt_drops: self.punt_drops(&departed, &ports),
            sources: self.sources.iter().map(source).collect(),
            abi: ABI_VERSION,
        };
        Sample { agent, ports }
    }

    fn sample(&self, port: PortLookup) -> PortSample {
        let parts = self.ports.parts();
        let wired = port.status.wired.as_ref();
        let slot = wired.map(|wired| wired.slot);
        let messages = slot.map(|slot| parts.dhcp.dialogue(slot).messages).unwrap_or_default();
        let said = messages.into_iter().map(|(said, count)| {
            let (message, outcome) = dhcp::message_and_outcome(&said);
            Said { message, outcome, count }
        });
        PortSample {
            ready: port.status.state == PortState::Ready,
            counters: slot.and_then(|slot| parts.datapath.maps().counters(slot).ok()),
            tap_drops: None,
            said: said.collect(),
            facts: PortFacts {
                netns: port.spec.netns.display().to_string(),
                pod_link: port.spec.pod_link.to_string(),
                tap: port.spec.tap.name.to_string(),
                tier: wired.map_or_else(String::new, |wired| wired.desired.tier.to_string()),
                hook: wired.map_or_else(String::new, |wired| wired.hook.to_string()),
                origin: port.spec.origin,
            },
            id: port.id,
        }
    }

    fn punt_drops(&self, departed: &PortCounters, ports: &[PortSample]) -> Vec<(&'static str, u64)> {
        let of = |counters: &PortCounters, reason: DropReason| {
            counters.drops.get(reason as usize).map_or(0, |count| count.packets)
        };
        let total = |(reason, before): (DropReason, &AtomicU64)| {
            let living = ports.iter().filter_map(|port| port.counters.as_ref());
            let now = living.fold(of(departed, reason), |sum, c| sum.wrapping_add(of(c, reason)));
            (reason.as_str(), before.fetch_max(now, Ordering::Relaxed).max(now))
        };
        PUNT_DROPS.into_iter().zip(&self.punt_drops).map(total).collect()
    }
}

fn source(pods: &Pods) -> SourceSample {
    let (up, known) = pods.standing();
    let (troubles, refused) = (pods.troubles(), pods.refused());
    let unserved = |kind| troubles.iter().filter(|trouble| trouble.obstacle == kind).count() as u64;
    SourceSample {
        name: pods.source().as_str(),
        up,
        pods: known as u64,
        unserved: Obstacle::ALL.map(|kind| (kind.as_str(), unserved(kind))).into(),
        refused: Obstacle::ALL.map(|kind| (kind.as_str(), refused.get(&kind).copied().unwrap_or(0))).into(),
    }
}
