// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a step runs: in a machine booted for it, or on this one.

use std::{ffi::OsStr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    guest::{Accel, Bare},
    image::{KernelImage, Uml},
    process::run,
};

use super::{
    payload::{AGENT, Binaries, TESTS, UML},
    steps::{Binary, Shell},
};
use crate::{privilege::Privilege, workspace};

/// The payload twice, packed and unpacked, and what the tests need.
const MEMORY_MIB: u32 = 1024;
/// One: the kernel patches its code while other CPUs run it (static keys, which every tc hook has), and emulated CPUs do
/// not always see that whole. Races between CPUs are met on this machine's own kernel.
const CPUS: u32 = 1;
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
/// Frames of property tests: emulation is slow.
const CASES: u32 = 1000;
const TAIL_LINES: usize = 40;

/// A booted kernel.
pub(super) struct Machine {
    bare: Bare,
    boot_time: Duration,
}

/// This machine, as root.
pub(super) struct Here<'a> {
    privilege: Privilege,
    binaries: &'a Binaries,
    uml: Option<&'a Uml>,
}

/// Boots a kernel until it takes commands.
pub(super) fn boot(image: &KernelImage, initrd: &Path, accel: Accel) -> Result<Machine> {
    let bare = Bare::boot(&image.vmlinux(), initrd, MEMORY_MIB, CPUS, accel)?;
    let boot_time = bare.wait_ready(BOOT_TIMEOUT)?;
    Ok(Machine { bare, boot_time })
}

/// Where the running kernel's tests run.
pub(super) fn here<'a>(binaries: &'a Binaries, uml: Option<&'a Uml>) -> Result<Here<'a>> {
    let privilege = Privilege::get().map_err(|reason| anyhow!("tests on this kernel need root: {reason}"))?;
    privilege.warm_up().map_err(|reason| anyhow!("tests on this kernel need root: {reason}"))?;
    Ok(Here { privilege, binaries, uml })
}

impl Machine {
    pub(super) fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// The last that its console said.
    pub(super) fn tail(&self) -> String {
        let transcript = self.bare.transcript();
        let lines: Vec<_> = transcript.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Shell for Machine {
    fn sh(&mut self, binary: Binary, arguments: &str, timeout: Duration) -> Result<(i32, String)> {
        let environment = format!("NETAGENT_BIN=/{AGENT} NETAGENT_UML=/{UML} PROPTEST_CASES={CASES}");
        self.bare.sh(&format!("{environment} /{TESTS}/{} {arguments}", binary.name()), timeout)
    }
}

impl Shell for Here<'_> {
    fn sh(&mut self, binary: Binary, arguments: &str, timeout: Duration) -> Result<(i32, String)> {
        let program =
            self.binaries.tests.get(&binary).with_context(|| format!("no test binary {}", binary.name()))?;
        let path = std::env::var_os("PATH");
        let uml = self.uml.map(Uml::dir);
        let environment = path
            .iter()
            .map(|path| ("PATH", path.as_os_str()))
            .chain([("NETAGENT_BIN", self.binaries.agent.as_os_str())])
            .chain([("RUST_BACKTRACE", OsStr::new("0"))])
            .chain(uml.iter().map(|dir| ("NETAGENT_UML", dir.as_os_str())));
        let mut command: Command = self.privilege.command(program, environment);
        command.current_dir(workspace::root().join("tests")).args(arguments.split(' '));
        let done = run(&mut command, timeout)?;
        Ok((done.code, format!("{}{}", done.stdout, done.stderr)))
    }
}
