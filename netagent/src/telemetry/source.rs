// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metrics of those who tell of pods.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{
    SourceSample,
    scrape::{counter, gauge},
};

/// The metrics of all of them.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, sources: &[SourceSample]) -> fmt::Result {
    let each = |value: fn(&SourceSample) -> u64| {
        sources.iter().map(move |source| ([("source", source.name.to_owned())], value(source)))
    };
    let by_reason = |values: fn(&SourceSample) -> &[(&'static str, u64)]| {
        sources.iter().flat_map(move |source| {
            let labels = |reason: &str| [("source", source.name.to_owned()), ("reason", reason.to_owned())];
            values(source).iter().map(move |(reason, n)| (labels(reason), *n))
        })
    };
    let up = "Whether the container runtime answers: 1, or 0";
    gauge(encoder, "netagent_source_up", up, each(|source| source.up.into()))?;
    let pods = "Pods that ask for ports, as the container runtime last told";
    gauge(encoder, "netagent_source_pods", pods, each(|source| source.pods))?;
    let unserved =
        "Ports that pods ask for and do not get, by reason; a pod that is not understood counts once";
    gauge(encoder, "netagent_unserved_asks", unserved, by_reason(|source| &source.unserved))?;
    let refused = "Starts of pods that were refused because of their ports, by reason";
    counter(encoder, "netagent_refused_pods", refused, by_reason(|source| &source.refused))
}
