// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds what the agent embeds: the eBPF object, always from source, and the types of its gRPC API.
//!
//! The object is built by a second cargo, as aya-build does it. Here it is spelled out because its
//! environment must be ours (no `RUSTFLAGS` or clippy wrapper of the outer cargo), one target directory
//! serves build, clippy and doc, and setting `RUSTC_BOOTSTRAP` for that one process needs no `unsafe`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

#[path = "build/toolchain.rs"]
mod toolchain;

use toolchain::{Rejected, Toolchain};

/// The name of the program target in netagent-ebpf and of the object in `OUT_DIR`.
const OBJECT: &str = "netagent-bpf";

/// Set by `cargo xtask ci`: a warning in netagent-ebpf fails the build.
const DENY_WARNINGS: &str = "NETAGENT_EBPF_DENY_WARNINGS";

/// How cargo tells this script of the features that the object has too.
const FEATURES: [(&str, &str); 2] =
    [("CARGO_FEATURE_NEXT_ABI", "next-abi"), ("CARGO_FEATURE_NEXT_PROGRAMS", "next-programs")];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        // Printed here: the error's Debug form would bury the remedy under a backtrace.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    compile_api()?;
    build_object(&out_dir)
}

fn compile_api() -> Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let interfaces = ["netagent.proto", "node_hooks.proto", "cri.proto", "nri.proto", "ttrpc.proto"];
    let files = protox::compile(interfaces, ["proto"]).context("compile the interfaces in proto")?;
    tonic_prost_build::configure()
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .btree_map(".")
        .compile_fds(files)
        .context("generate the gRPC API")
}

fn build_object(out_dir: &Path) -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("netagent is not in its workspace")?;
    for input in
        ["netagent-ebpf", "netagent-common/src", "netagent-common/Cargo.toml", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    for variable in [toolchain::OVERRIDE, DENY_WARNINGS, "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let toolchain = Toolchain::find().map_err(no_toolchain)?;
    let linker = toolchain::linker().context(
        "cannot build the eBPF programs: bpf-linker is neither on PATH nor in ~/.cargo/bin; \
         run `cargo xtask setup`, which installs it",
    )?;
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "little" => "bpfel-unknown-none",
        _ => "bpfeb-unknown-none",
    };
    let target_dir = shared_target_dir(out_dir);
    let mut cargo = toolchain.compiler.command("cargo");
    isolate(&mut cargo);
    cargo
        .current_dir(workspace)
        .env("RUSTC_BOOTSTRAP", "1") // `-Z build-std` with a stable compiler
        .env(format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase()), &linker)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags()?)
        .args(["rustc", "--quiet", "--release", "--package", "netagent-ebpf", "--bin", OBJECT])
        .args(["--target", target, "-Zbuild-std=core", "--target-dir"])
        .arg(&target_dir);
    for (variable, feature) in FEATURES {
        if env::var_os(variable).is_some() {
            cargo.args(["--features", feature]);
        }
    }
    if env::var_os(DENY_WARNINGS).is_some() {
        cargo.args(["--", "-Dwarnings"]);
    }
    let out = cargo.output().with_context(|| format!("cannot run {cargo:?}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        bail!(
            "cannot build the eBPF programs with toolchain {} (rustc {}, LLVM {}) and {}:\n{said}\n\
             If it is not the code: `cargo xtask setup --check` compares toolchain and linker.",
            toolchain.compiler.name(),
            toolchain.release,
            toolchain.llvm_major,
            linker.display(),
        );
    }
    for line in said.lines() {
        println!("cargo::warning={line}");
    }
    let built = target_dir.join(target).join("release").join(OBJECT);
    fs::copy(&built, out_dir.join(OBJECT)).with_context(|| format!("copy {} to OUT_DIR", built.display()))?;
    Ok(())
}

/// The outer cargo's settings are for the host: left in, they make the inner one another build, or a failing
/// one.
fn isolate(cargo: &mut Command) {
    const HOST_ONLY: [&str; 8] = [
        "CARGO",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
    ];
    for variable in HOST_ONLY {
        cargo.env_remove(variable);
    }
    for (variable, _) in env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"CARGO_PROFILE_") {
            cargo.env_remove(variable);
        }
    }
}

/// `core` and the programs need line info and BTF: the verifier's log quotes them.
fn rustflags() -> Result<String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let flags = [&format!("--cfg=bpf_target_arch=\"{arch}\""), "-Cdebuginfo=2", "-Clink-arg=--btf"];
    Ok(flags.join("\x1f"))
}

/// `OUT_DIR` is `<target>/<profile>/build/<package>-<hash>/out`, with another hash for build, clippy and doc.
/// The object is the same for all: one directory beside the profiles saves compiling `core` for each.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    out_dir.ancestors().nth(4).unwrap_or(out_dir).join("ebpf")
}

fn no_toolchain(rejected: Vec<Rejected>) -> anyhow::Error {
    let mut text = String::from("cannot build the eBPF programs: no Rust toolchain for them");
    for Rejected { name, reason } in rejected {
        text.push_str(&format!("\n  {name}: {reason}"));
    }
    text.push_str(
        "\nRun `cargo xtask setup`, or, with rustup and its servers in reach: rustup component add rust-src",
    );
    anyhow::anyhow!(text)
}
