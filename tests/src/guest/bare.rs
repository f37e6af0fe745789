// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine without a network card, driven through its serial console: for tests of another kernel than this one.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Accel, connect, console::Console, machine, serial};
use crate::process::Process;

/// A running machine. Dropping it kills QEMU and waits for its end.
#[derive(Debug)]
pub struct Bare {
    console: Console,
    started: Instant,
    // Dropped in this order: the process writes into the folder.
    _process: Process,
    dir: tempfile::TempDir,
}

impl Bare {
    /// Starts QEMU. Its init has to print `@ready` and then do what the console says, as the guest's does.
    pub fn boot(kernel: &Path, initrd: &Path, memory_mib: u32, cpus: u32, accel: Accel) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("natest-bare-").tempdir().context("cannot make a folder")?;
        let (socket, log) = (dir.path().join("console"), dir.path().join("qemu.log"));
        let mut command = Command::new("qemu-system-x86_64");
        accel.machine(&mut command);
        machine(&mut command, kernel, initrd, memory_mib);
        command.args(["-smp", &cpus.to_string()]);
        serial(&mut command, &socket, &dir.path().join("console.log"));
        command.arg("-append").arg(accel.kernel_arguments()?);

        let started = Instant::now();
        let mut process = Process::spawn_logged(&mut command, &log)?;
        let console = connect(&mut process, &socket, &log)?;
        Ok(Self { console, started, _process: process, dir })
    }

    /// Waits until it takes commands; the time since QEMU's start.
    pub fn wait_ready(&self, timeout: Duration) -> Result<Duration> {
        let ready = |line: &str| (line == "@ready").then_some(());
        let (at, ()) = self.console.wait("the machine to be ready", timeout, 0, ready)?;
        Ok(at.duration_since(self.started))
    }

    /// Runs a shell command in it: its exit code and all it printed. One at a time.
    pub fn sh(&self, command: &str, timeout: Duration) -> Result<(i32, String)> {
        self.console.command(command, timeout)
    }

    /// Everything the console printed.
    pub fn transcript(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default()
    }
}
