// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's own metrics.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::MetricType,
};

use super::{
    AgentSample,
    scrape::{counter, gauge},
};

/// The metrics of the agent.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, agent: &AgentSample) -> fmt::Result {
    let build = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("abi", agent.abi.to_string()),
        ("arch", std::env::consts::ARCH.to_owned()),
    ];
    gauge(encoder, "netagent_build_info", "Which agent this is; always 1", [(build, 1)])?;
    let labelled = |label: &'static str, values: &[(&'static str, u64)]| {
        values.iter().map(|(name, n)| ([(label, (*name).to_owned())], *n)).collect::<Vec<_>>()
    };
    gauge(encoder, "netagent_ports", "Ports, by state", labelled("state", &agent.states))?;
    counter(
        encoder,
        "netagent_reconcile_failures",
        "Passes over ports that failed, by class",
        labelled("class", &agent.failures),
    )?;
    counter(
        encoder,
        "netagent_punt_dropped_packets",
        "Frames for the agent that were dropped before it saw them, of all ports that it had, by reason",
        labelled("reason", &agent.punt_drops),
    )?;
    let name = "netagent_reconcile_pass_duration_seconds";
    let help = "How long passes over ports took";
    let passes = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    agent.passes.encode(passes)
}
