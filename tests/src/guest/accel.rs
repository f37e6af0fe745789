// SPDX-License-Identifier: MIT OR Apache-2.0
//! KVM where it really runs a kernel, else TCG.

use std::{
    fmt,
    fs::{self, OpenOptions},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{MEMORY_MIB, machine, tsc};
use crate::{image::Image, poll, process::Process};

/// How long KVM has to boot a kernel. Hosts that emulate it crawl, and need minutes.
const KVM_TIMEOUT: Duration = Duration::from_secs(5);

/// How QEMU runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Hardware.
    Kvm,
    /// Translation by QEMU.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

impl Accel {
    /// What works here, found by booting a kernel once per boot of the machine.
    pub fn detect(image: &Image) -> Result<Self> {
        static FOUND: OnceLock<Accel> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(*found);
        }
        let openable = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        let found = if openable { probed(image)? } else { Self::Tcg };
        Ok(*FOUND.get_or_init(|| found))
    }

    /// QEMU's machine, CPU and accelerator.
    pub(super) fn machine(self, command: &mut Command) {
        match self {
            Self::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            Self::Tcg => command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
        };
        command.args(["-M", "microvm"]);
    }

    /// The kernel's command line.
    pub(super) fn kernel_arguments(self) -> Result<String> {
        let common = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check";
        Ok(match self {
            // KVM has a clock of its own.
            Self::Kvm => common.to_owned(),
            // Without this microvm hangs at calibrating the counter.
            Self::Tcg => format!("{common} tsc_early_khz={}", tsc::rate_khz()),
        })
    }
}

/// The result for this boot of the host, from a file beside the image or by trying.
fn probed(image: &Image) -> Result<Accel> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = image.kernel().with_file_name("kvm-probe");
    let remembered = fs::read_to_string(&note).unwrap_or_default();
    match remembered.split_once(' ') {
        Some((verdict, at)) if !boot.is_empty() && at == boot => {
            return Ok(if verdict == "works" { Accel::Kvm } else { Accel::Tcg });
        }
        _ => {}
    }
    let works = boots(image)?;
    // Not being able to remember costs only time.
    fs::write(&note, format!("{} {boot}", if works { "works" } else { "fails" })).ok();
    Ok(if works { Accel::Kvm } else { Accel::Tcg })
}

/// Whether a kernel comes as far as asking for init under KVM.
fn boots(image: &Image) -> Result<bool> {
    let dir = tempfile::Builder::new().prefix("natest-kvm-").tempdir().context("cannot make a folder")?;
    let serial = dir.path().join("serial");
    let mut command = Command::new("qemu-system-x86_64");
    Accel::Kvm.machine(&mut command);
    machine(&mut command, &image.kernel(), &image.initrd(), MEMORY_MIB);
    command.arg("-serial").arg(format!("file:{}", serial.display()));
    command.args(["-append", "console=ttyS0 panic=-1 netagent.dhcp=none"]);
    let mut qemu = Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let booted = poll::try_until("KVM", KVM_TIMEOUT, || {
        let up = fs::read(Path::new(&serial))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains("Run /init as init process"));
        // The guest has no network card: its init says so, much later.
        Ok(if up { Some(true) } else { qemu.try_wait()?.map(|_| false) })
    });
    crate::interrupt::check()?;
    Ok(booted.unwrap_or(false))
}
