// SPDX-License-Identifier: MIT OR Apache-2.0
//! Components of the toolchain that runs xtask: rustfmt, clippy.

use std::process::Command;

use anyhow::{Result, bail};

use super::requirements::Finding;
use crate::{privilege::find_program, progress::Step, workspace};

/// Seconds after which rustup's servers count as out of reach.
const PATIENCE: &str = "90";

/// Whether `cargo <name>` runs.
pub(super) fn find(name: &str) -> Finding {
    match workspace::cargo().args([name, "--version"]).output() {
        Ok(out) if out.status.success() => {
            Finding::Ready(String::from_utf8_lossy(&out.stdout).trim().to_owned())
        }
        _ => Finding::Missing(format!("cargo {name} does not run")),
    }
}

pub(super) fn has_rustup() -> bool {
    find_program("rustup").is_some()
}

/// Adds a component to the toolchain that runs xtask.
pub(super) fn add(component: &str) -> Result<()> {
    let step = Step::start("rustup");
    let mut rustup = Command::new("timeout");
    rustup.args([PATIENCE, "rustup", "component", "add", component]);
    let outcome = step.run(&mut rustup, |step, line| step.note(line))?;
    if outcome.status.success() {
        step.end("ok", &format!("component {component} added"));
        return Ok(());
    }
    step.end("failed", &format!("component {component}"));
    let said: Vec<_> = outcome.output.lines().filter(|line| line.contains("rror")).collect();
    match (outcome.status.code(), said.first()) {
        (Some(124), _) => bail!("rustup did not get {component} within {PATIENCE} s"),
        (_, Some(line)) => bail!("rustup cannot get {component}: {}", line.trim_start_matches("error: ")),
        (_, None) => bail!("rustup cannot get {component}: {}", outcome.output.trim()),
    }
}
