// SPDX-License-Identifier: MIT OR Apache-2.0
//! On what was measured: without it a figure means nothing to anybody else.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::load::Cpus;
use crate::workspace;

/// The machine and the source that were measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    /// `git describe`: the commit, and `-dirty` when files differed from it.
    pub(super) revision: String,
    /// `uname -r`.
    pub(super) kernel: String,
    /// Model name of the CPU.
    pub(super) cpu: String,
    /// CPUs that are online.
    pub(super) cpu_count: usize,
    /// Whether the CPU is a virtual one.
    pub(super) virtual_cpu: bool,
    /// cpufreq's governor of the CPU that carries the load; nothing where the machine has no cpufreq.
    pub(super) governor: Option<String>,
    /// `net.core.default_qdisc`: what a tap gets that nobody gave one.
    pub(super) default_qdisc: String,
    /// Whether the BPF JIT is on (net.core.bpf_jit_enable).
    pub(super) bpf_jit: bool,
    /// Runnable tasks over the last minute, before the bench began.
    pub(super) load_average: f64,
}

impl Machine {
    /// Asks for all of it.
    pub(super) fn look(cpus: Cpus) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let governor = format!("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cpus.load);
        let load = read("/proc/loadavg")?;
        Ok(Self {
            revision: revision()?,
            kernel: read("/proc/sys/kernel/osrelease")?,
            cpu: cpu_model(&cpuinfo),
            cpu_count: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            virtual_cpu: cpuinfo.lines().any(|line| {
                line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
            }),
            governor: Path::new(&governor).exists().then(|| read(&governor)).transpose()?,
            default_qdisc: read("/proc/sys/net/core/default_qdisc")?,
            bpf_jit: read("/proc/sys/net/core/bpf_jit_enable")? != "0",
            load_average: load
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("/proc/loadavg says `{load}`"))?,
        })
    }

    /// Somebody else works here: the figures are worth little.
    pub(super) fn is_busy(&self) -> bool {
        self.load_average > 0.5
    }

    /// In what another one is not the same; the source aside.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let same = [
            ("the kernel", self.kernel == other.kernel),
            ("the CPU", self.cpu == other.cpu),
            ("the number of CPUs", self.cpu_count == other.cpu_count),
            ("cpufreq's governor", self.governor == other.governor),
            ("the default qdisc", self.default_qdisc == other.default_qdisc),
            ("the BPF JIT", self.bpf_jit == other.bpf_jit),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let kind = if self.virtual_cpu { "virtual" } else { "physical" };
        let governor =
            self.governor.as_deref().map_or("no cpufreq".to_owned(), |name| format!("governor {name}"));
        format!(
            "{}, kernel {}, {} x {} ({kind}), {governor}, default qdisc {}, load average {}",
            self.revision, self.kernel, self.cpu_count, self.cpu, self.default_qdisc, self.load_average
        )
    }
}

fn cpu_model(cpuinfo: &str) -> String {
    let field = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // arm64 names no model.
    field("model name").or_else(|| field("CPU part")).unwrap_or_else(|| "unknown".to_owned())
}

fn revision() -> Result<String> {
    let root = workspace::root();
    let mut git = std::process::Command::new("git");
    // Under sudo the tree belongs to somebody else, which git else refuses.
    git.arg("-c").arg(format!("safe.directory={}", root.display()));
    let out = git
        .current_dir(&root)
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output()
        .context("cannot run git, which names the revision")?;
    // A source archive has no history.
    Ok(if out.status.success() {
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    } else {
        "unknown".to_owned()
    })
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
}
