// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is run on every kernel, in which order, and what of it a kernel cannot have.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use netagent_tests::fact;

use super::report::{Outcome, Verdict};
use crate::test::libtest::{self, Counts};

/// Test binaries, each a target of the tests crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Binary {
    Matrix,
    Bpf,
    Netns,
}

impl Binary {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Bpf => "bpf",
            Self::Netns => "netns",
        }
    }
}

/// One run of a test binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) binary: Binary,
    /// Tests whose names contain one of them; all if none.
    filters: &'static [&'static str],
    skips: &'static [&'static str],
    /// How many tests at once; the test binary's own choice if None.
    threads: Option<u32>,
    /// Whether the rest makes no sense where this fails.
    needed: bool,
}

/// Tests with this in their names need tcx: on a kernel without it they are skipped, and counted as such.
const NEEDS_TCX: &str = "tcx";
/// A debug build under TCG, where all else on the machine is busy too.
const STEP_TIMEOUT: Duration = Duration::from_secs(600);
const LOAD: Step = Step {
    name: "load",
    binary: Binary::Matrix,
    filters: &["load::"],
    skips: &[],
    threads: Some(1),
    needed: true,
};
const STEPS: [Step; 5] = [
    LOAD,
    Step {
        name: "choice",
        binary: Binary::Matrix,
        filters: &["choice::"],
        skips: &[],
        threads: Some(1),
        needed: true,
    },
    Step { name: "bpf", binary: Binary::Bpf, filters: &[], skips: &[], threads: None, needed: false },
    Step {
        name: "netns",
        binary: Binary::Netns,
        // Hooks, tiers and guard, adoption and detachment. The rest does not depend on the kernel.
        filters: &["handoff::", "hostile::", "kill::", "detach::", "foreign::", "gone::", "repair::"],
        skips: &[],
        threads: Some(4),
        needed: false,
    },
    Step {
        name: "guest",
        binary: Binary::Matrix,
        filters: &["guest::"],
        skips: &[],
        threads: Some(1),
        needed: false,
    },
];

/// What a run of the matrix does on each kernel.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    filter: Option<String>,
}

/// Something that runs shell commands under the kernel in question.
pub(super) trait Shell {
    /// Exit code and output.
    fn sh(&mut self, binary: Binary, arguments: &str, timeout: Duration) -> Result<(i32, String)>;
}

impl Plan {
    pub(super) fn new(filter: Option<&str>, load_only: bool) -> Self {
        let steps = if load_only { vec![LOAD] } else { STEPS.to_vec() };
        Self { steps, filter: filter.map(str::to_owned) }
    }

    pub(super) fn binaries(&self) -> BTreeSet<Binary> {
        self.steps.iter().map(|step| step.binary).collect()
    }

    pub(super) fn has_guest(&self) -> bool {
        self.steps.iter().any(|step| step.name == "guest")
    }

    /// Runs every step; what comes of it is in the outcome. An error is one of the machine, not of a test.
    pub(super) fn run(&self, shell: &mut impl Shell, outcome: &mut Outcome) -> Result<()> {
        for step in &self.steps {
            let tcx = outcome.fact("tcx") != Some("no");
            let (code, output) = shell.sh(step.binary, &self.arguments(step, tcx), STEP_TIMEOUT)?;
            let verdict = self.judge(step, code, &output, outcome);
            let stop = step.needed && verdict.is_failed();
            outcome.steps.push(verdict);
            if stop {
                break;
            }
        }
        Ok(())
    }

    fn arguments(&self, step: &Step, tcx: bool) -> String {
        let mut words = vec!["--include-ignored".to_owned()];
        words.extend(step.threads.map(|threads| format!("--test-threads={threads}")));
        match &self.filter {
            // The first step tells what the kernel has; the others depend on it.
            Some(filter) if !step.needed => words.push(filter.clone()),
            _ => words.extend(step.filters.iter().map(|&filter| filter.to_owned())),
        }
        words.extend(step.skips.iter().flat_map(|skip| ["--skip".to_owned(), (*skip).to_owned()]));
        if !tcx {
            words.extend(["--skip".to_owned(), NEEDS_TCX.to_owned()]);
        }
        words.join(" ")
    }

    fn judge(&self, step: &Step, code: i32, output: &str, outcome: &mut Outcome) -> Verdict {
        let mut counts = None;
        for line in output.lines() {
            if let Some((key, value)) = fact::read(line) {
                outcome.facts.insert(key.to_owned(), value.to_owned());
            }
            if let Some(test) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... ok")) {
                outcome.passed.insert(format!("{}::{test}", step.binary.name()));
            }
            counts = libtest::summary(line).or(counts);
        }
        let counts: Counts = counts.unwrap_or_default();
        let failure = if code == 0 && counts.ran() == 0 && self.filter.is_none() {
            Some("it ran no test".to_owned())
        } else if code != 0 || counts.failed > 0 {
            Some(format!("ended with {code}:\n{}", output.trim_end()))
        } else {
            None
        };
        Verdict { step: step.name, counts, failure }
    }
}
