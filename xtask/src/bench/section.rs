// SPDX-License-Identifier: MIT OR Apache-2.0
//! A part of the report: packets, streams, requests, the agent's own life, storms.

use serde::{Deserialize, Serialize};

use super::{report::table::Table, series::Series};

/// The measure of single packets, in whatever part.
pub(super) const TIME_PER_PACKET: &str = "time per packet";

/// What one part of the bench found out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Section {
    /// Its name on the command line (`--only`).
    pub(super) name: String,
    /// For people.
    pub(super) title: String,
    /// Every number of every round.
    pub(super) series: Vec<Series>,
    /// What people see, derived from `series`.
    #[serde(skip)]
    pub(super) tables: Vec<Table>,
    /// What a reader must know besides: derived figures, doubts.
    pub(super) remarks: Vec<String>,
    /// What was to be measured and was not, with the reason. A run with any of these ends with 1.
    pub(super) absent: Vec<String>,
}

impl Section {
    /// One that came to nothing.
    pub(super) fn failed(name: &str, error: &anyhow::Error) -> Self {
        Self {
            name: name.to_owned(),
            title: format!("Part `{name}`"),
            series: Vec::new(),
            tables: Vec::new(),
            remarks: Vec::new(),
            absent: vec![format!("all of it: {error:#}")],
        }
    }
}
