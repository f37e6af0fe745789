// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask image`: the agent as an OCI image, from scratch, without a Docker daemon.
//!
//! The binary is static, with the C library of the machine that builds it: nothing in the agent asks for names or users,
//! so there is nothing that a static glibc would load at run time. It is the same link that the tests run.

mod oci;
mod tar;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use oci::Image;

use crate::{build, setup, workspace};

/// Arguments of `cargo xtask image`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to [default: target/image/netagent-VERSION-ARCH.tar]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image's name without its tag, which is the version
    #[arg(long, value_name = "NAME", default_value = NAME)]
    name: String,
    /// Packs an unoptimised build, which takes seconds instead of minutes
    #[arg(long)]
    dev: bool,
    /// Imports it into the containerd at this socket, where the kubelet's images are
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = "/run/containerd/containerd.sock")]
    load: Option<PathBuf>,
}

/// Of no registry: nobody can have put another image there. The manifests name it so.
const NAME: &str = "localhost/netagent";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `cargo xtask image`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[setup::Need::Build])?;
    let agent = if args.dev { build::agent()? } else { build::optimised_agent()? };
    let file = match &args.output {
        Some(file) => file.clone(),
        None => usual_file()?,
    };
    let digest = pack(&agent, &args.name, &file)?;
    println!("{}:{VERSION}\n{}\n{digest}", args.name, file.display());
    if let Some(socket) = &args.load {
        load(&file, socket)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The image of an agent that was built already, for tests.
pub(crate) fn of(agent: &Path) -> Result<PathBuf> {
    let file = usual_file()?.with_file_name("netagent-test.tar");
    pack(agent, NAME, &file)?;
    Ok(file)
}

fn usual_file() -> Result<PathBuf> {
    let metadata = workspace::metadata(&["--no-deps"])?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(Path::new(target).join("image").join(format!("netagent-{VERSION}-{}.tar", architecture())))
}

/// Packs the binary, without its debug information, into `file`. The image's digest.
fn pack(agent: &Path, name: &str, file: &Path) -> Result<String> {
    let directory = file.parent().context("the image needs a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let stripped = tempfile::NamedTempFile::new_in(directory).context("cannot make a file")?;
    let strip = Command::new("strip").arg("--strip-debug").arg("-o").arg(stripped.path()).arg(agent).status();
    if !strip.context("cannot run strip (package binutils)")?.success() {
        bail!("strip failed on {}", agent.display());
    }
    let binary = fs::read(stripped.path()).context("cannot read the binary")?;
    if !is_static(&binary) {
        bail!("{} is not a static program: it would not start in an empty image", agent.display());
    }
    let licences = ["LICENSE-APACHE", "LICENSE-MIT"]
        .into_iter()
        .map(|name| Ok((name, fs::read(workspace::root().join(name)).with_context(|| format!("no {name}"))?)))
        .collect::<Result<Vec<_>>>()?;
    let name = format!("{name}:{VERSION}");
    let image = Image {
        binary: &binary,
        name: &name,
        version: VERSION,
        architecture: architecture(),
        licences: &licences,
    };
    let packed = image.pack()?;
    fs::write(file, packed.tar).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(packed.digest)
}

/// Whether a program names no interpreter (`PT_INTERP`), and so needs nothing but the kernel.
fn is_static(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = program.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((at, size, count)) = headers().filter(|_| program.starts_with(b"\x7fELF\x02\x01")) else {
        return false;
    };
    count > 0 && (0..count).all(|n| number(at + n * size, 4).is_some_and(|kind| kind != PT_INTERP as usize))
}

/// As Go, and so OCI, spells it.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn load(file: &Path, socket: &Path) -> Result<()> {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(socket).args(["--namespace", "k8s.io", "images", "import"]).arg(file);
    let status = ctr.status().context("cannot run ctr (package containerd)")?;
    if !status.success() {
        bail!("ctr cannot import {}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_interpreter_is_told_from_one_without() {
        // This test is linked to a shared C library.
        assert!(!is_static(&fs::read("/proc/self/exe").unwrap()));
        let mut program = vec![0; 64 + 2 * 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (program[32], program[54], program[56]) = (64, 56, 2);
        (program[64], program[64 + 56]) = (1, 2);
        assert!(is_static(&program));
        program[64 + 56] = 3;
        assert!(!is_static(&program));
        assert!(!is_static(b"#!/bin/sh"));
        assert!(!is_static(&program[..100]));
    }
}
