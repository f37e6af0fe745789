// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the toolchain and the linker for the eBPF target. Part of the build script and of `xtask setup`, so
//! that what set-up reports is what the build does.
//!
//! No rustup component exists for `bpfel-unknown-none`: `core` is compiled from its sources, by a compiler
//! that may be any whose sysroot holds them. bpf-linker reads that compiler's bitcode, so both need the same
//! LLVM major.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Names one rustup toolchain to use instead of the search.
pub(crate) const OVERRIDE: &str = "NETAGENT_EBPF_TOOLCHAIN";

/// The LLVM majors that both aya-ebpf 0.2 and the bpf-linker of `xtask setup` were made for.
pub(crate) const LLVM_MAJORS: [u32; 2] = [22, 23];

/// A rustup toolchain by its name or, without rustup, the compiler on `PATH`.
#[derive(Debug)]
pub(crate) struct Compiler(Option<String>);

impl Compiler {
    /// `distro`, or `rustc on PATH`.
    pub(crate) fn name(&self) -> &str {
        self.0.as_deref().unwrap_or("rustc on PATH")
    }

    /// `program` (`cargo`, `rustc`) of this toolchain.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(name) = &self.0 else { return Command::new(program) };
        let mut command = Command::new("rustup");
        command.args(["run", name, program]);
        command
    }
}

/// A compiler that can build `core` for the eBPF target.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    /// As in `rustc -vV`, for example `1.96.0`.
    pub(crate) release: String,
    pub(crate) llvm_major: u32,
}

/// A compiler that was looked at, and what it lacks.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Toolchain {
    /// The first of `RUSTUP_TOOLCHAIN` (the one that compiles this), `stable`, `distro`, `nightly` that has
    /// what is needed; without rustup, the compiler on `PATH`.
    pub(crate) fn find() -> Result<Self, Vec<Rejected>> {
        let mut rejected = Vec::new();
        for compiler in candidates() {
            let name = compiler.name().to_owned();
            match Self::examine(compiler) {
                Ok(toolchain) => return Ok(toolchain),
                // Of the names tried on the off chance only those that exist are worth a line.
                Err(reason) if reason.ends_with("is not installed") && env::var_os(OVERRIDE).is_none() => {}
                Err(reason) => rejected.push(Rejected { name, reason }),
            }
        }
        Err(rejected)
    }

    fn examine(compiler: Compiler) -> Result<Self, String> {
        let version = output(compiler.command("rustc").arg("-vV"))?;
        let field = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let release = field("release:").ok_or("rustc -vV does not name its release")?.to_owned();
        let oldest = env!("CARGO_PKG_RUST_VERSION");
        if minor(&release) < minor(oldest) {
            return Err(format!("rustc {release} is older than {oldest}"));
        }
        let llvm = field("LLVM version:").ok_or("rustc -vV does not name its LLVM")?;
        let llvm_major = llvm.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if !LLVM_MAJORS.contains(&llvm_major) {
            return Err(format!("LLVM {llvm} is none of {LLVM_MAJORS:?}, for which a bpf-linker is known"));
        }
        let sysroot = output(compiler.command("rustc").args(["--print", "sysroot"]))?;
        let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        if !core.exists() {
            return Err(format!("rustc {release} lacks the sources of core (component rust-src)"));
        }
        Ok(Self { compiler, release, llvm_major })
    }
}

/// Where bpf-linker is: on `PATH`, or where `cargo install` puts it, which Debian's own cargo leaves out of
/// `PATH`.
pub(crate) fn linker() -> Option<PathBuf> {
    let cargo_home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn candidates() -> Vec<Compiler> {
    if Command::new("rustup").arg("--version").output().is_err() {
        return vec![Compiler(None)];
    }
    if let Ok(name) = env::var(OVERRIDE) {
        return vec![Compiler(Some(name))];
    }
    let mut names = Vec::from_iter(env::var("RUSTUP_TOOLCHAIN"));
    for name in ["stable", "distro", "nightly"] {
        if !names.iter().any(|known| known.starts_with(name)) {
            names.push(name.to_owned());
        }
    }
    names.into_iter().map(|name| Compiler(Some(name))).collect()
}

fn output(command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let first = said.lines().next().unwrap_or("rustc failed and said nothing");
    Err(first.trim_start_matches("error: ").to_owned())
}

/// `1.96.0-nightly` -> (1, 96).
fn minor(release: &str) -> (u32, u32) {
    let mut numbers = release.split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
