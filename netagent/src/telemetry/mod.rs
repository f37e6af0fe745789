// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the node's monitoring sees: metrics and health over HTTP.

mod http;
mod metrics;

use std::collections::BTreeMap;

pub use http::{TelemetryError, listen, serve};
use netagent_common::counters::PortCounters;

use crate::core::ids::PortId;

/// One port at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct PortSample {
    /// Its name.
    pub id: PortId,
    /// Where it stands, as the API spells it.
    pub state: &'static str,
    /// Its counters; `None` before it was ready for the first time.
    pub counters: Option<PortCounters>,
    /// What was said with its guest, by type and outcome: few names, whatever a guest sends.
    pub messages: BTreeMap<String, u64>,
}
