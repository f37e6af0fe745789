// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every kernel boots with: the agent, the test binaries and the programs they call, as one initramfs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::image::{self, KernelImage, Uml};
use tempfile::NamedTempFile;

use super::{
    kernels::Targets,
    steps::{Binary, Plan},
};
use crate::{build, progress::Step, workspace};

/// Where things are under a booted kernel.
pub(super) const AGENT: &str = "opt/netagent";
pub(super) const TESTS: &str = "opt/tests";
pub(super) const UML: &str = "opt/uml";
const INIT: &str = include_str!("../../../tests/guest/matrix-init.sh");
/// The system's programs that the tests and the harness call; busybox has the rest. Of `ip` and others busybox has
/// some of the commands only, and dash is a shell that does not take its own commands first.
const PROGRAMS: [&str; 11] =
    ["bpftool", "dash", "dhclient", "ip", "iperf3", "mount", "nsenter", "ping", "tc", "umount", "unshare"];
/// dhclient asks for little without it.
const DHCLIENT_CONF: &str = "/etc/dhcp/dhclient.conf";

/// What was built.
pub(super) struct Binaries {
    pub(super) agent: PathBuf,
    pub(super) tests: BTreeMap<Binary, PathBuf>,
}

impl Binaries {
    pub(super) fn build(plan: &Plan) -> Result<Self> {
        let agent = build::agent()?;
        let built = |binary: Binary| Ok((binary, build::test_binary(binary.name())?));
        Ok(Self { agent, tests: plan.binaries().into_iter().map(built).collect::<Result<_>>()? })
    }
}

/// The initramfs without modules.
pub(super) struct Payload {
    cpio: Vec<u8>,
}

/// Packs it; nothing where no kernel is booted.
pub(super) fn pack(binaries: &Binaries, targets: &Targets) -> Result<Payload> {
    let Some(image) = &targets.image else { return Ok(Payload { cpio: Vec::new() }) };
    let step = Step::start("payload");
    let mut payload = image::Payload::new(&image.busybox())?;
    for program in PROGRAMS {
        payload.system_program(program)?;
    }
    payload.link("usr/bin/sh", "dash");
    payload.file("init", 0o755, INIT.as_bytes().to_vec());
    payload.built_program(&binaries.agent, AGENT)?;
    for (binary, path) in &binaries.tests {
        payload.built_program(path, &format!("{TESTS}/{}", binary.name()))?;
    }
    if Path::new(DHCLIENT_CONF).exists() {
        payload.file(DHCLIENT_CONF.trim_start_matches('/'), 0o644, read(Path::new(DHCLIENT_CONF))?);
    }
    add_vectors(&mut payload)?;
    if let Some(uml) = &targets.uml {
        add_uml(&mut payload, uml)?;
    }
    let cpio = payload.pack();
    step.end("ok", &format!("{} MB", cpio.len() / 1_000_000));
    Ok(Payload { cpio })
}

/// The test binaries look for them where they were built.
fn add_vectors(payload: &mut image::Payload) -> Result<()> {
    let dir = workspace::root().join("tests/vectors");
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
        let to = path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
        payload.file(to.trim_start_matches('/'), 0o644, read(&path)?);
    }
    Ok(())
}

fn add_uml(payload: &mut image::Payload, uml: &Uml) -> Result<()> {
    payload.built_program(&uml.program(), &format!("{UML}/linux"))?;
    payload.file(&format!("{UML}/initrd.cpio"), 0o644, read(&uml.initrd())?);
    Ok(())
}

impl Payload {
    /// The initramfs of one kernel: the kernel unpacks the two archives over each other.
    pub(super) fn with_modules(&self, image: &KernelImage) -> Result<NamedTempFile> {
        let mut file = NamedTempFile::with_prefix("natest-initrd-").context("cannot make a file")?;
        file.write_all(&self.cpio).context("cannot write the initramfs")?;
        let modules = image.modules();
        let mut modules =
            File::open(&modules).with_context(|| format!("cannot read {}", modules.display()))?;
        std::io::copy(&mut modules, &mut file).context("cannot write the initramfs")?;
        Ok(file)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
