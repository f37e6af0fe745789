// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds what xtask runs, and says where it is.
//!
//! One profile, dev, for demo, run and test: the agent is not on the packet path, the eBPF object in it is a
//! release build in every profile, and a second build of some 250 crates would double the time to a first
//! result.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::workspace;

/// The agent's executable, linked as it is shipped: statically, so that the tests run what an image holds.
pub(crate) fn agent() -> Result<PathBuf> {
    static_agent(&[])
}

/// The same as it is shipped, where its own speed counts.
pub(crate) fn optimised_agent() -> Result<PathBuf> {
    static_agent(&["--release"])
}

/// Only the last step differs from `cargo build`: the libraries are compiled once for both.
fn static_agent(profile: &[&str]) -> Result<PathBuf> {
    let what = ["--package", "netagent", "--bin", "netagent", "--", "-C", "target-feature=+crt-static"];
    let executables = executables(&[&["rustc"], profile, &what].concat())?;
    executables.into_iter().next().context("cargo built no executable of netagent")
}

/// Agents that differ from [`agent`] as another version would, for tests of upgrades: the variable by which a test finds
/// each, and its executable.
pub(crate) fn other_agents() -> Result<[(&'static str, PathBuf); 2]> {
    let build = |bin: &str, feature: &str| {
        let words = ["build", "--package", "netagent", "--bin", bin, "--features", feature];
        executables(&words)?.into_iter().next().with_context(|| format!("cargo built no executable {bin}"))
    };
    Ok([
        ("NETAGENT_NEXT_BIN", build("netagent-next", "next-abi")?),
        ("NETAGENT_NEXT_PROGRAMS_BIN", build("netagent-next-programs", "next-programs")?),
    ])
}

/// A test binary of the tests crate, not run.
pub(crate) fn test_binary(target: &str) -> Result<PathBuf> {
    let executables = executables(&["test", "--package", "netagent-tests", "--test", target, "--no-run"])?;
    executables.into_iter().next().with_context(|| format!("cargo built no test binary {target}"))
}

/// The integration test targets of the tests crate.
pub(crate) fn test_targets() -> Result<Vec<String>> {
    let metadata = workspace::metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let tests = packages
        .iter()
        .find(|package| package["name"] == "netagent-tests")
        .and_then(|package| package["targets"].as_array())
        .context("cargo metadata does not list netagent-tests")?;
    Ok(tests.iter().filter(|target| is_kind(target, "test")).filter_map(name).collect())
}

/// Runs cargo, its progress on stderr, and returns the executables that it names.
fn executables(args: &[&str]) -> Result<Vec<PathBuf>> {
    // What is behind `--` is not cargo's.
    let (before, after) = args.split_at(args.iter().position(|word| *word == "--").unwrap_or(args.len()));
    let out = workspace::cargo()
        .args(before)
        .arg("--message-format=json-render-diagnostics")
        .args(after)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !out.status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    let text = String::from_utf8(out.stdout).context("cargo's messages are not UTF-8")?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect())
}

fn is_kind(target: &Value, kind: &str) -> bool {
    target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
}

fn name(target: &Value) -> Option<String> {
    target["name"].as_str().map(str::to_owned)
}
