// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a scrape reads, before it is text.

use netagent_common::counters::PortCounters;
use prometheus_client::metrics::histogram::Histogram;

use crate::core::{ids::PortId, origin::Origin};

/// The node at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The agent.
    pub agent: AgentSample,
    /// Its ports.
    pub ports: Vec<PortSample>,
}

/// The agent at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct AgentSample {
    /// Ports by state, states without ports included.
    pub states: Vec<(&'static str, u64)>,
    /// How long the passes over ports took, in seconds.
    pub passes: Histogram,
    /// Passes that failed, by class, classes without failures included.
    pub failures: Vec<(&'static str, u64)>,
    /// Frames for the agent that were dropped before it saw them, by reason, those of ports that are gone included.
    pub punt_drops: Vec<(&'static str, u64)>,
    /// Those that tell it of pods.
    pub sources: Vec<SourceSample>,
    /// Layout of the maps that it works with.
    pub abi: u32,
}

/// Who tells the agent of pods, at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct SourceSample {
    /// Its name.
    pub name: &'static str,
    /// Whether it answers.
    pub up: bool,
    /// Its pods that ask for ports.
    pub pods: u64,
    /// What they ask for and do not get, by reason, reasons without any included.
    pub unserved: Vec<(&'static str, u64)>,
    /// Pods that were not let start, by reason, reasons without any included.
    pub refused: Vec<(&'static str, u64)>,
}

/// One port at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct PortSample {
    /// Its name.
    pub id: PortId,
    /// Whether it is as desired.
    pub ready: bool,
    /// What is known of it.
    pub facts: PortFacts,
    /// Its counters; `None` before it was ready for the first time.
    pub counters: Option<PortCounters>,
    /// Frames that the tap dropped, as a rule because the guest does not take them; `None` where it cannot be asked.
    pub tap_drops: Option<u64>,
    /// What was said with its guest: few names, whatever a guest sends.
    pub said: Vec<Said>,
}

/// What is known of a port and is not a number.
#[derive(Clone, Debug, Default)]
pub struct PortFacts {
    /// Who asked, and for which pod.
    pub origin: Origin,
    /// Path of the pod's network namespace.
    pub netns: String,
    /// The interface that the CNI made.
    pub pod_link: String,
    /// The tap.
    pub tap: String,
    /// How packets leave; empty before it was ready for the first time.
    pub tier: String,
    /// Where the programs are; empty before it was ready for the first time.
    pub hook: String,
}

/// Messages of the hand-off of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What came or was said.
    pub message: String,
    /// What became of it.
    pub outcome: String,
    /// How often.
    pub count: u64,
}
