// SPDX-License-Identifier: MIT OR Apache-2.0
//! What came of each kernel: a table for people, Markdown rows for docs/kernel-support.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::kernels::Target;
use crate::test::libtest::Counts;

/// One step on one kernel.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) step: &'static str,
    pub(super) counts: Counts,
    /// Why it failed, with what was printed.
    pub(super) failure: Option<String>,
}

impl Verdict {
    pub(super) fn is_failed(&self) -> bool {
        self.failure.is_some()
    }
}

/// One kernel.
#[derive(Debug)]
pub(super) struct Outcome {
    wanted: String,
    version: String,
    pub(super) boot: Option<Duration>,
    pub(super) steps: Vec<Verdict>,
    /// What tests told of the kernel.
    pub(super) facts: BTreeMap<String, String>,
    /// `BINARY::TEST` of every test that passed.
    pub(super) passed: BTreeSet<String>,
    /// What kept steps from running.
    pub(super) failures: Vec<String>,
    /// The console's last lines, where something failed.
    pub(super) tail: String,
    pub(super) time: Duration,
    ran: bool,
}

impl Outcome {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            wanted: target.wanted(),
            version: target.version().to_owned(),
            boot: None,
            steps: Vec::new(),
            facts: BTreeMap::new(),
            passed: BTreeSet::new(),
            failures: Vec::new(),
            tail: String::new(),
            time: Duration::ZERO,
            ran: true,
        }
    }

    /// A kernel that was left out after another one failed.
    pub(super) fn not_run(target: &Target) -> Self {
        Self { ran: false, ..Self::new(target) }
    }

    pub(super) fn is_good(&self) -> bool {
        self.ran
            && self.failures.is_empty()
            && !self.steps.is_empty()
            && !self.steps.iter().any(Verdict::is_failed)
    }

    pub(super) fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }

    /// A line for when it is done.
    pub(super) fn line(&self) -> String {
        let verdict = if self.is_good() { "ok" } else { "FAILED" };
        format!("{:<8} {:<32} {verdict:<7} {:>5.0} s", self.wanted, self.version, self.time.as_secs_f64())
    }
}

/// All kernels.
pub(super) struct Report {
    outcomes: Vec<Outcome>,
    time: Duration,
}

impl Report {
    pub(super) fn new(outcomes: Vec<Outcome>, time: Duration) -> Self {
        Self { outcomes, time }
    }

    pub(super) fn is_good(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(Outcome::is_good)
    }

    pub(super) fn markdown(&self) -> String {
        String::new()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            writeln!(f, "{} {:?}", outcome.line(), outcome.facts)?;
            for failure in &outcome.failures {
                writeln!(f, "{failure}")?;
            }
            for verdict in outcome.steps.iter() {
                if let Some(failure) = &verdict.failure {
                    writeln!(f, "{} {failure}", verdict.step)?;
                }
            }
        }
        writeln!(f, "{:.0} s", self.time.as_secs_f64())
    }
}
