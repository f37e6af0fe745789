// SPDX-License-Identifier: MIT OR Apache-2.0
//! One tier: what it needs, and how it is run.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _, stdout},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::libtest::{self, Counts};
use crate::{
    build, image,
    privilege::Privilege,
    setup::{self, Need},
    workspace,
};

/// The tiers, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Pure code, on any machine
    Unit,
    /// The compiled eBPF programs in the kernel, by BPF_PROG_TEST_RUN
    Bpf,
    /// Real links, taps, agent and DHCP clients in network namespaces
    Netns,
    /// Real containerds of several releases, with real pods
    Containerd,
    /// A real guest kernel in QEMU
    Vm,
}

/// How a tier ended.
#[derive(Debug)]
pub(super) enum Ending {
    Ran {
        success: bool,
    },
    /// Nothing was run; what was missing.
    Skipped {
        missing: String,
    },
}

impl Tier {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Bpf => "bpf",
            Self::Netns => "netns",
            Self::Containerd => "containerd",
            Self::Vm => "vm",
        }
    }

    /// What set-up must bring beyond a build.
    pub(super) fn need(self) -> Need {
        match self {
            Self::Unit => Need::Build,
            Self::Bpf => Need::Bpf,
            Self::Netns => Need::Netns,
            Self::Containerd => Need::Containerd,
            Self::Vm => Need::Vm,
        }
    }

    /// The test target of the tests crate; the unit tier is in the crates themselves.
    pub(super) fn target(self) -> Option<&'static str> {
        (self != Self::Unit).then(|| self.name())
    }

    pub(super) fn run(self, agent: &Path, filter: &[OsString]) -> Result<(Counts, Ending)> {
        match self.target() {
            None => run_unit(filter),
            Some(target) => self.run_as_root(target, agent, filter),
        }
    }

    fn run_as_root(self, target: &str, agent: &Path, filter: &[OsString]) -> Result<(Counts, Ending)> {
        let binary = build::test_binary(target)?;
        let privilege = match self.missing() {
            Ok(privilege) => privilege,
            Err(missing) => {
                let counts = Counts { skipped: count(&binary, filter)?, ..Counts::default() };
                return Ok((counts, Ending::Skipped { missing }));
            }
        };
        let mut others = Vec::new();
        if self == Self::Netns {
            others.extend(build::other_agents()?);
            others.push(("NETAGENT_IMAGE", image::of(agent)?));
        }
        privilege.warm_up().map_err(|reason| anyhow::anyhow!("tier {}: {reason}", self.name()))?;
        let kept: Vec<_> =
            ["PATH", "CI", "RUST_LOG", "RUST_BACKTRACE", "CARGO_TARGET_DIR", "XDG_CACHE_HOME", "HOME"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?)))
                .collect();
        let environment = kept
            .iter()
            .map(|(name, value)| (*name, value.as_os_str()))
            .chain([("NETAGENT_BIN", agent.as_os_str())])
            .chain(others.iter().map(|(name, binary)| (*name, binary.as_os_str())));
        let mut command = privilege.command(&binary, environment);
        // As cargo does it: the folder of the package.
        command.current_dir(workspace::root().join("tests")).arg("--include-ignored");
        if self == Self::Vm {
            command.arg("--test-threads=1"); // a guest under TCG takes a whole CPU
        }
        let (counts, success) = watch(command.args(filter))?;
        Ok((counts, Ending::Ran { success }))
    }

    /// How to become root, or everything that keeps the tier from running.
    fn missing(self) -> Result<Privilege, String> {
        let mut missing: Vec<_> = setup::missing(&[self.need()])
            .into_iter()
            .map(|one| format!("{} ({})", one.requirement.name, one.reason))
            .collect();
        let privilege = Privilege::get();
        if let Err(reason) = &privilege {
            missing.push(format!("root ({reason})"));
        }
        if matches!(self, Self::Netns | Self::Containerd | Self::Vm) && !Path::new("/dev/net/tun").exists() {
            missing.push("/dev/net/tun (modprobe tun)".to_owned());
        }
        match privilege {
            Ok(privilege) if missing.is_empty() => Ok(privilege),
            _ => Err(missing.join(", ")),
        }
    }
}

fn run_unit(filter: &[OsString]) -> Result<(Counts, Ending)> {
    let host = ["test", "--workspace", "--exclude", "netagent-ebpf", "--no-fail-fast"];
    let (mut counts, tests) =
        watch(workspace::cargo().args(host).args(["--lib", "--bins", "--"]).args(filter))?;
    let (documented, examples) = watch(workspace::cargo().args(host).args(["--doc", "--"]).args(filter))?;
    counts += documented;
    Ok((counts, Ending::Ran { success: tests && examples }))
}

/// Runs test binaries, shows what they print, and adds up their summaries.
fn watch(command: &mut Command) -> Result<(Counts, bool)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {program}"))?;
    let pipe = child.stdout.take().context("no pipe from the tests")?;
    let mut counts = Counts::default();
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line.with_context(|| format!("cannot read what {program} prints"))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(stdout(), "{line}").context("cannot write to stdout")?;
        if let Some(summary) = libtest::summary(&line) {
            counts += summary;
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
    if !status.success() && stdout().is_terminal() {
        eprintln!("{program} ended with {status}");
    }
    Ok((counts, status.success()))
}

/// How many tests a binary would run. Listing needs no privileges.
fn count(binary: &Path, filter: &[OsString]) -> Result<u64> {
    let out = Command::new(binary)
        .args([OsStr::new("--list"), OsStr::new("--include-ignored")])
        .args(filter)
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    if !out.status.success() {
        bail!("{} --list failed:\n{}", binary.display(), String::from_utf8_lossy(&out.stderr));
    }
    Ok(libtest::listed(&String::from_utf8_lossy(&out.stdout)))
}
