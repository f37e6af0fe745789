// SPDX-License-Identifier: MIT OR Apache-2.0
//! A part of the report: packets, streams, requests, the agent's own life, storms.

use serde::Serialize;

use super::{report::table::Table, series::Series};

/// What one part of the bench found out.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    /// Its name on the command line (`--only`).
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
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
