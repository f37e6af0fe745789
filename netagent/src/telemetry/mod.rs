// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the node's monitoring sees: metrics and health over HTTP, and the log.

mod agent;
mod health;
mod http;
pub mod log;
mod port;
mod sample;
mod scrape;
mod source;

pub use health::{Health, Stage};
pub use http::{TelemetryError, listen, serve};
pub use sample::{AgentSample, PortFacts, PortSample, Said, Sample, SourceSample};
