// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask ci`: the one list of checks; a CI service only calls it.

use std::{
    env,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{privilege::Privilege, progress::Step, setup, workspace};

/// Arguments of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also `cargo xtask vm`: the programs and tests on other kernels
    #[arg(long)]
    kernels: bool,
}

/// Read by netagent's build script. Set for every check, so that none rebuilds what another built.
const DENY_EBPF_WARNINGS: &str = "NETAGENT_EBPF_DENY_WARNINGS";

/// netagent-ebpf compiles for the eBPF target only: netagent's build script builds it in clippy, doc and
/// test.
const HOST: [&str; 3] = ["--workspace", "--exclude", "netagent-ebpf"];

/// Runs every check, also after one failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    setup::ensure(&[setup::Need::Build, setup::Need::Ci])?;
    let mut failed = Vec::new();
    for (name, mut command) in quiet_checks()? {
        if !passes(name, &mut command)? {
            failed.push(name);
        }
    }
    // The tests show what they do: they take longest, and where one hangs must be seen.
    for subcommand in ["test", "vm"].into_iter().filter(|one| *one == "test" || args.kernels) {
        let ran = xtask(subcommand)?.status().with_context(|| format!("cannot run xtask {subcommand}"))?;
        if !ran.success() {
            failed.push(subcommand);
        }
    }
    if !bench_runs()? {
        failed.push("bench");
    }
    let seconds = started.elapsed().as_secs_f64();
    if failed.is_empty() {
        eprintln!("ci: everything passed in {seconds:.0} s");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("ci: FAILED after {seconds:.0} s: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn quiet_checks() -> Result<[(&'static str, Command); 5]> {
    let mut fmt = cargo("fmt");
    fmt.args(["--all", "--check"]);
    let mut clippy = cargo("clippy");
    clippy.args(HOST).args(["--all-targets", "--", "-D", "warnings"]);
    let mut doc = cargo("doc");
    doc.args(HOST).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
    Ok([("fmt", fmt), ("lint", xtask("lint")?), ("deny", deny()?), ("clippy", clippy), ("doc", doc)])
}

/// cargo-deny where it is installed; otherwise our own reading of the same deny.toml. Advisories need a
/// network.
fn deny() -> Result<Command> {
    let mut cargo_deny = cargo("deny");
    if cargo_deny.arg("--version").output().is_ok_and(|out| out.status.success()) {
        let mut check = cargo("deny");
        check.args(["--offline", "check", "bans", "licenses", "sources"]);
        return Ok(check);
    }
    xtask("deny")
}

/// That the bench builds, proves and counts; its figures are not looked at. Where it cannot run, CI fails.
fn bench_runs() -> Result<bool> {
    if let Err(reason) = Privilege::get().and_then(Privilege::warm_up) {
        Step::start("bench").end("SKIPPED", &reason);
        return Ok(!workspace::in_ci());
    }
    passes("bench", xtask("bench")?.arg("--quick"))
}

fn passes(name: &str, command: &mut Command) -> Result<bool> {
    let step = Step::start(name);
    let outcome = step.run(command, |step, line| step.note(line))?;
    if outcome.status.success() {
        let warnings = outcome.output.lines().filter(|line| line.starts_with("warning")).count();
        step.end("ok", &if warnings > 0 { format!("{warnings} warnings") } else { String::new() });
        return Ok(true);
    }
    step.end("FAILED", "");
    eprintln!("{}", outcome.output);
    Ok(false)
}

fn cargo(subcommand: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.arg(subcommand).env(DENY_EBPF_WARNINGS, "1");
    cargo
}

fn xtask(subcommand: &str) -> Result<Command> {
    let mut xtask = Command::new(env::current_exe().context("cannot find xtask's own executable")?);
    xtask.arg(subcommand).current_dir(workspace::root()).env(DENY_EBPF_WARNINGS, "1");
    Ok(xtask)
}
