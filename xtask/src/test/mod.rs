// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask test`: sets up, builds, runs the tiers, and counts.

pub(crate) mod libtest;
mod tier;

use std::{
    ffi::OsString,
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::ValueEnum as _;

use crate::{build, setup, workspace};
use libtest::Counts;
use tier::{Ending, Tier};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// All that exist when none is named
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// Handed to the test binaries, for example the name of a test
    #[arg(last = true)]
    filter: Vec<OsString>,
}

/// The lines at the end, and whether they are good.
pub(crate) struct Report {
    tiers: Vec<TierReport>,
    filtered: bool,
    ci: bool,
}

struct TierReport {
    tier: Tier,
    counts: Counts,
    ending: Ending,
    time: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Failed(&'static str),
    Skipped,
}

/// `cargo xtask test`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let report = run_tiers(args)?;
    print!("\n{report}");
    Ok(report.exit_code())
}

/// Sets up, builds and runs; the report is for the caller to print.
pub(crate) fn run_tiers(args: &Args) -> Result<Report> {
    let tiers = select(&args.tiers)?;
    setup::ensure(&[setup::Need::Build])?;
    let needs: Vec<_> = tiers.iter().map(|tier| tier.need()).collect();
    if let Err(error) = setup::ensure(&needs) {
        // The tiers that lack nothing still run; the others name what they lack.
        eprintln!("set-up is incomplete: {error:#}");
    }
    let agent = build::agent()?;
    let mut report = Report { tiers: Vec::new(), filtered: !args.filter.is_empty(), ci: workspace::in_ci() };
    for tier in tiers {
        println!("\n== {} ==", tier.name());
        let started = Instant::now();
        // One tier that cannot be built must not hide the results of the others.
        let (counts, ending) = tier.run(&agent, &args.filter).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            (Counts::default(), Ending::Ran { success: false })
        });
        report.tiers.push(TierReport { tier, counts, ending, time: started.elapsed() });
    }
    Ok(report)
}

/// The named tiers, or all whose test target exists.
fn select(named: &[Tier]) -> Result<Vec<Tier>> {
    let targets = build::test_targets()?;
    let exists = |tier: &Tier| tier.target().is_none_or(|target| targets.iter().any(|one| one == target));
    if let Some(tier) = named.iter().find(|tier| !exists(tier)) {
        bail!(
            "there is no tier {}: the tests crate has the test targets {}",
            tier.name(),
            targets.join(", ")
        );
    }
    let all = Tier::value_variants().iter().copied().filter(exists);
    Ok(all.filter(|tier| named.is_empty() || named.contains(tier)).collect())
}

impl Report {
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    pub(crate) fn is_good(&self) -> bool {
        let verdicts = self.tiers.iter().map(|tier| tier.verdict(self.filtered));
        let tiers = verdicts.fold(true, |good, verdict| match verdict {
            Verdict::Ok => good,
            Verdict::Skipped => good && !self.ci,
            Verdict::Failed(_) => false,
        });
        tiers && (self.total().ran() > 0 || self.total().skipped > 0)
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for tier in &self.tiers {
            total += tier.counts;
        }
        total
    }
}

impl TierReport {
    fn verdict(&self, filtered: bool) -> Verdict {
        match &self.ending {
            Ending::Skipped { .. } => Verdict::Skipped,
            Ending::Ran { .. } if self.counts.failed > 0 => Verdict::Failed("tests failed"),
            Ending::Ran { success: false } => Verdict::Failed("a test binary did not build or ended early"),
            Ending::Ran { success: true } if self.counts.ran() == 0 && !filtered => {
                Verdict::Failed("no test was run")
            }
            Ending::Ran { success: true } => Verdict::Ok,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.tiers {
            let Counts { passed, failed, skipped } = report.counts;
            let (verdict, detail) = match (report.verdict(self.filtered), &report.ending) {
                (Verdict::Skipped, Ending::Skipped { missing }) => ("SKIPPED", format!("missing: {missing}")),
                (Verdict::Failed(why), _) => ("FAILED", why.to_owned()),
                _ => ("ok", String::new()),
            };
            let counts = format!("{passed} passed, {failed} failed, {skipped} ignored");
            let line = format!(
                "{:<6} {verdict:<8} {counts}  {:.1} s  {detail}",
                report.tier.name(),
                report.time.as_secs_f64()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let total = self.total();
        if total.ran() == 0 && total.skipped == 0 {
            writeln!(f, "FAILED: no test was run")?;
        }
        writeln!(f, "{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: Counts, ending: Ending, filtered: bool, ci: bool) -> Report {
        Report {
            tiers: vec![TierReport { tier: Tier::Netns, counts, ending, time: Duration::ZERO }],
            filtered,
            ci,
        }
    }

    const THREE: Counts = Counts { passed: 3, failed: 0, skipped: 0 };
    const NONE: Counts = Counts { passed: 0, failed: 0, skipped: 0 };

    #[test]
    fn passed_tests_are_good() {
        let report = report(THREE, Ending::Ran { success: true }, false, true);
        assert!(report.is_good());
        assert_eq!(
            report.to_string(),
            "netns  ok       3 passed, 0 failed, 0 ignored  0.0 s\n3 passed, 0 failed, 0 skipped\n"
        );
    }

    #[test]
    fn a_failed_test_fails() {
        let counts = Counts { failed: 1, ..THREE };
        assert!(!report(counts, Ending::Ran { success: false }, false, false).is_good());
        // Whatever the binary's exit code says.
        assert!(!report(counts, Ending::Ran { success: true }, false, false).is_good());
    }

    #[test]
    fn a_binary_that_dies_fails() {
        assert!(!report(THREE, Ending::Ran { success: false }, false, false).is_good());
    }

    #[test]
    fn no_tests_fail() {
        assert!(!report(NONE, Ending::Ran { success: true }, false, false).is_good());
        assert!(!report(NONE, Ending::Ran { success: true }, true, false).is_good());
    }

    #[test]
    fn a_skipped_tier_is_named_and_fails_in_ci() {
        let skipped = || Ending::Skipped { missing: "root (no sudo)".to_owned() };
        let counts = Counts { skipped: 9, ..NONE };
        assert!(report(counts, skipped(), false, false).is_good());
        assert!(!report(counts, skipped(), false, true).is_good());
        let text = report(counts, skipped(), false, false).to_string();
        assert!(text.contains("SKIPPED") && text.contains("missing: root (no sudo)"), "{text}");
        assert!(text.ends_with("\n0 passed, 0 failed, 9 skipped\n"), "{text}");
    }
}
