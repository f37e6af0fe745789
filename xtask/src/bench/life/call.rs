// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of the command line against the clock: from the start of its process to its end.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{agent::Agent, interrupt};

use crate::bench::crowd::Pod;

/// How long `netagent WORDS` takes. Waited for by the kernel: a poll would be a part of the figure.
pub(super) fn call(agent: &Agent, words: &[&str]) -> Result<Duration> {
    interrupt::check()?;
    let (subcommand, rest) = words.split_first().context("no subcommand given")?;
    let mut command = Command::new(agent.binary());
    command.arg(subcommand).arg("--socket").arg(agent.socket()).args(rest);
    let started = Instant::now();
    let done = command.output().context("cannot run netagent")?;
    let took = started.elapsed();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`netagent {}`: {}: {}", words.join(" "), done.status, said.trim());
    }
    Ok(took)
}

/// Attaches a port in a pod.
pub(super) fn attach(agent: &Agent, pod: &Pod) -> Result<Duration> {
    let words: Vec<&str> = std::iter::once("attach").chain(pod.attach.iter().map(String::as_str)).collect();
    call(agent, &words)
}

/// Takes it off.
pub(super) fn detach(agent: &Agent, pod: &Pod) -> Result<Duration> {
    call(agent, &["detach", "--netns", &pod.netns.path().display().to_string()])
}
