// SPDX-License-Identifier: MIT OR Apache-2.0
//! What came of one kernel: its steps, what tests told of it, and whether that is good.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use netagent_tests::fact;

use super::kernels::Target;
use crate::test::libtest::Counts;

/// Tests that forward and lease on one hook and tier, and what they are called in the table.
const PATHS: [(&str, &str); 4] = [
    ("netns::handoff::leases_and_traffic_by_clsact_and_peer", "clsact+peer"),
    ("netns::handoff::leases_and_traffic_by_clsact_and_plain", "clsact+plain"),
    ("netns::handoff::leases_and_traffic_by_tcx_and_peer", "tcx+peer"),
    ("netns::handoff::leases_and_traffic_by_tcx_and_plain", "tcx+plain"),
];

/// One step.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) step: &'static str,
    pub(super) counts: Counts,
    /// Tests that this kernel cannot run, for lack of tcx.
    pub(super) left_out: usize,
    /// Why it failed, with what was printed.
    pub(super) failure: Option<String>,
}

/// One kernel.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) wanted: String,
    pub(super) version: String,
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

impl Verdict {
    /// A step of which this kernel can run nothing.
    pub(super) fn left_out(step: &'static str, left_out: usize) -> Self {
        Self { step, counts: Counts::default(), left_out, failure: None }
    }

    /// A line for when it is done.
    pub(super) fn line(&self, time: Duration) -> String {
        let verdict = if self.is_failed() { "FAILED" } else { "ok" };
        let Counts { passed, .. } = self.counts;
        format!("{:<8} {verdict:<7} {passed:>3} passed {:>6.1} s", self.step, time.as_secs_f64())
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failure.is_some()
    }
}

impl Outcome {
    pub(super) fn new(target: &Target) -> Self {
        Self::of(target.wanted(), target.version().to_owned())
    }

    fn of(wanted: String, version: String) -> Self {
        Self {
            wanted,
            version,
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

    /// A kernel whose one step passed.
    #[cfg(test)]
    pub(super) fn sample(series: &str) -> Self {
        let counts = Counts { passed: 3, ..Counts::default() };
        let step = Verdict { step: "bpf", counts, left_out: 0, failure: None };
        Self { steps: vec![step], ..Self::of(series.to_owned(), format!("{series}.1")) }
    }

    pub(super) fn is_good(&self) -> bool {
        self.ran
            && self.failures.is_empty()
            && !self.steps.is_empty()
            && !self.steps.iter().any(Verdict::is_failed)
    }

    pub(super) fn verdict(&self) -> &'static str {
        match (self.ran, self.is_good()) {
            (false, _) => "not run",
            (true, true) => "ok",
            (true, false) => "FAILED",
        }
    }

    pub(super) fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }

    /// Takes what tests told, and which passed, from the output of a test binary.
    pub(super) fn read(&mut self, binary: &str, output: &str) {
        for line in output.lines() {
            if let Some((key, value)) = fact::read(line) {
                self.facts.insert(key.to_owned(), value.to_owned());
            } else if let Some(test) =
                line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... ok"))
            {
                self.passed.insert(format!("{binary}::{test}"));
            }
        }
    }

    /// `12 of 12`, and how many of a step's tests this kernel cannot run.
    pub(super) fn counts(&self, step: &str) -> String {
        let Some(verdict) = self.steps.iter().find(|verdict| verdict.step == step) else {
            return "-".to_owned();
        };
        let mut text = format!("{} of {}", verdict.counts.passed, verdict.counts.ran());
        if verdict.left_out > 0 {
            write!(text, " ({} need tcx)", verdict.left_out).ok();
        }
        text
    }

    /// Hooks and tiers on which a guest leased and moved traffic.
    pub(super) fn paths(&self) -> String {
        let passed = PATHS.into_iter().filter(|(test, _)| self.passed.contains(*test));
        let names: Vec<_> = passed.map(|(_, name)| name).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    }

    /// A line for when it is done.
    pub(super) fn line(&self) -> String {
        let seconds = self.time.as_secs_f64();
        format!("{:<8} {:<32} {:<7} {seconds:>5.0} s", self.wanted, self.version, self.verdict())
    }

    /// Everything that is known of a failure.
    pub(super) fn complaint(&self) -> String {
        let mut text = format!("\n== {} {} {}\n", self.wanted, self.version, self.verdict());
        for failure in &self.failures {
            writeln!(text, "{failure}").ok();
        }
        for verdict in &self.steps {
            if let Some(failure) = &verdict.failure {
                writeln!(text, "-- {}: {failure}", verdict.step).ok();
            }
        }
        if !self.tail.is_empty() {
            writeln!(text, "-- the console's last lines:\n{}", self.tail).ok();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_good_when_every_step_is() {
        let mut outcome = Outcome::sample("6.1");
        assert!(outcome.is_good());
        assert_eq!(outcome.counts("bpf"), "3 of 3");
        outcome.steps.push(Verdict {
            step: "netns",
            counts: Counts { passed: 4, failed: 1, skipped: 0 },
            left_out: 2,
            failure: Some("ended with 101".to_owned()),
        });
        assert_eq!((outcome.is_good(), outcome.verdict()), (false, "FAILED"));
        assert_eq!(outcome.counts("netns"), "4 of 5 (2 need tcx)");
        assert!(outcome.complaint().contains("-- netns: ended with 101"));
    }

    #[test]
    fn a_kernel_without_steps_or_left_out_is_not_good() {
        assert!(!Outcome::of(String::new(), String::new()).is_good());
        assert!(!Outcome { ran: false, ..Outcome::sample("6.1") }.is_good());
        assert!(!Outcome { failures: vec!["no boot".to_owned()], ..Outcome::sample("6.1") }.is_good());
    }

    #[test]
    fn paths_are_those_whose_tests_passed() {
        let mut outcome = Outcome::sample("5.10");
        assert_eq!(outcome.paths(), "-");
        outcome.passed.insert("netns::handoff::leases_and_traffic_by_clsact_and_plain".to_owned());
        assert_eq!(outcome.paths(), "clsact+plain");
    }
}
