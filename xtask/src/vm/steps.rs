// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is run on every kernel, in which order, and what of it a kernel cannot have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use netagent_tests::process::run_ok;

use super::outcome::{Outcome, Verdict};
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
#[derive(Clone, Debug)]
struct Step {
    name: &'static str,
    binary: Binary,
    /// Tests whose names contain one of them; all if none.
    filters: &'static [&'static str],
    /// Whether the rest makes no sense where this fails.
    needed: bool,
    /// Tests of this step, known once the binaries are built.
    tests: Vec<String>,
}

impl Step {
    fn new(name: &'static str, binary: Binary, filters: &'static [&'static str]) -> Self {
        Self { name, binary, filters, needed: false, tests: Vec::new() }
    }

    fn needed(self) -> Self {
        Self { needed: true, ..self }
    }
}

/// Tests with this in their names need tcx: on a kernel without it they are left out, and counted as such.
const NEEDS_TCX: &str = "tcx";
/// A debug build under TCG, where all else on the machine is busy too.
const STEP_TIMEOUT: Duration = Duration::from_secs(900);
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// Of the netns tier what depends on the kernel: hooks and tiers, the guard, adoption, repair. An emulated kernel takes
/// ten times as long for each as this one, and tests that compare whole namespaces, minutes.
const NETNS: [&str; 6] = [
    "handoff::leases_and_traffic_by",
    "hostile::frames_with_a_stolen_identity",
    "kill::nothing_is_lost_by_sigkill",
    "kill::an_agent_that_lacks_tcx_now",
    "repair::damage_is_repaired",
    "gone::a_deleted_namespace_takes_its_port",
];

fn load() -> Step {
    Step::new("load", Binary::Matrix, &["load::"]).needed()
}

/// In order: what is cheap and tells most comes first.
fn steps() -> Vec<Step> {
    vec![
        load(),
        Step::new("choice", Binary::Matrix, &["choice::"]).needed(),
        Step::new("bpf", Binary::Bpf, &["kernel::"]),
        Step::new("netns", Binary::Netns, &NETNS),
        Step::new("guest", Binary::Matrix, &["guest::"]),
    ]
}

/// What a run of the matrix does on each kernel.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
}

/// Something that runs shell commands under the kernel in question.
pub(super) trait Shell {
    /// Exit code and output.
    fn sh(&mut self, binary: Binary, arguments: &str, timeout: Duration) -> Result<(i32, String)>;
}

impl Plan {
    pub(super) fn new(load_only: bool) -> Self {
        Self { steps: if load_only { vec![load()] } else { steps() } }
    }

    pub(super) fn binaries(&self) -> BTreeSet<Binary> {
        self.steps.iter().map(|step| step.binary).collect()
    }

    pub(super) fn has_guest(&self) -> bool {
        self.steps.iter().any(|step| step.name == "guest")
    }

    /// Finds the tests of every step: of those it names, the ones that contain `wanted`. A name that fits no test is an
    /// error, or a test that was renamed would never run again.
    pub(super) fn choose(
        &mut self,
        binaries: &BTreeMap<Binary, PathBuf>,
        wanted: Option<&str>,
    ) -> Result<()> {
        for step in &mut self.steps {
            let Some(binary) = binaries.get(&step.binary) else { continue };
            let all = list(binary)?;
            if let Some(filter) =
                step.filters.iter().find(|filter| !all.iter().any(|test| test.contains(*filter)))
            {
                bail!(
                    "no test of {} has `{filter}` in its name: it is listed in xtask's vm/steps.rs",
                    step.binary.name()
                );
            }
            let named = |test: &String| {
                step.filters.is_empty() || step.filters.iter().any(|filter| test.contains(filter))
            };
            // The needed steps tell what the kernel has; the others depend on it.
            let chosen = |test: &String| step.needed || wanted.is_none_or(|wanted| test.contains(wanted));
            step.tests = all.into_iter().filter(|test| named(test) && chosen(test)).collect();
        }
        self.steps.retain(|step| !step.tests.is_empty());
        if wanted.is_some_and(|_| self.steps.iter().all(|step| step.needed)) {
            bail!("no test of the matrix has `{}` in its name", wanted.unwrap_or_default());
        }
        Ok(())
    }

    /// Runs every step; what comes of it is in the outcome. An error is one of the machine, not of a test.
    pub(super) fn run(&self, shell: &mut impl Shell, outcome: &mut Outcome) -> Result<()> {
        for step in &self.steps {
            let can_run = |test: &&String| outcome.fact("tcx") != Some("no") || !test.contains(NEEDS_TCX);
            let tests: Vec<_> = step.tests.iter().filter(can_run).map(String::as_str).collect();
            let left_out = step.tests.len() - tests.len();
            if tests.is_empty() {
                outcome.steps.push(Verdict::left_out(step.name, left_out));
                continue;
            }
            let arguments = format!("--include-ignored --test-threads=1 --exact {}", tests.join(" "));
            let started = Instant::now();
            let (code, output) = shell.sh(step.binary, &arguments, STEP_TIMEOUT)?;
            outcome.read(step.binary.name(), &output);
            let verdict = judge(step.name, tests.len(), left_out, code, &output);
            // One that takes minutes must be seen to go on.
            eprintln!("  {:<8} {}", outcome.wanted, verdict.line(started.elapsed()));
            let stop = step.needed && verdict.is_failed();
            outcome.steps.push(verdict);
            if stop {
                break;
            }
        }
        Ok(())
    }
}

/// Every test of a binary.
fn list(binary: &Path) -> Result<Vec<String>> {
    let mut command = std::process::Command::new(binary);
    let listed = run_ok(command.args(["--list", "--include-ignored"]), LIST_TIMEOUT)?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Only a binary that says that all `expected` tests passed did well.
fn judge(step: &'static str, expected: usize, left_out: usize, code: i32, output: &str) -> Verdict {
    let counts: Counts = output.lines().filter_map(libtest::summary).next_back().unwrap_or_default();
    let failure = if code != 0 || counts.failed > 0 {
        Some(format!("ended with {code}:\n{}", output.trim_end()))
    } else if counts.passed != expected as u64 {
        Some(format!("{} of {expected} tests ran:\n{}", counts.passed, output.trim_end()))
    } else {
        None
    };
    Verdict { step, counts, left_out, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "running 2 tests\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1s\n";

    #[test]
    fn a_binary_that_says_nothing_has_failed() {
        for (code, output) in [(0, ""), (127, "sh: not found"), (0, &PASSED.replace('2', "1")), (101, PASSED)]
        {
            assert!(judge("bpf", 2, 0, code, output).is_failed(), "{code} {output}");
        }
        let good = judge("bpf", 2, 1, 0, PASSED);
        assert!(!good.is_failed());
        assert_eq!((good.counts.passed, good.left_out), (2, 1));
    }

    #[test]
    fn what_needs_no_tcx_runs_everywhere() {
        /// Passes all tests it is asked for, and tells of a kernel without tcx.
        struct Old(Vec<String>);
        impl Shell for Old {
            fn sh(&mut self, _: Binary, arguments: &str, _: Duration) -> Result<(i32, String)> {
                self.0.push(arguments.to_owned());
                let count = arguments.split(' ').count() - 3;
                Ok((0, format!("@fact tcx no\ntest result: ok. {count} passed; 0 failed; 0 ignored; x")))
            }
        }
        let mut plan = Plan { steps: vec![load(), Step::new("netns", Binary::Netns, &[])] };
        plan.steps[0].tests = vec!["load::all".to_owned()];
        plan.steps[1].tests = ["by_tcx", "by_clsact"].map(str::to_owned).to_vec();
        let (mut shell, mut outcome) = (Old(Vec::new()), Outcome::sample("5.10"));
        plan.run(&mut shell, &mut outcome).unwrap();
        assert!(shell.0[1].ends_with("--exact by_clsact"), "{:?}", shell.0);
        assert_eq!(outcome.counts("netns"), "1 of 1 (1 need tcx)");
        assert!(outcome.is_good());
    }
}
