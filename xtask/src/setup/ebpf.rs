// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiler and the linker of the eBPF programs: found as netagent's build script finds them, and
//! installed.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{requirements::Finding, rust_component};
use crate::progress::Step;

#[path = "../../../netagent/build/toolchain.rs"]
mod search;

use search::Toolchain;

/// Debian 12's own Rust of a recent release (kept for its browsers), with the sources of core.
pub(super) const DISTRO_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The LLVM of that compiler.
const DISTRO_LLVM: u32 = 22;
/// Works with LLVM 22 and 23; which one is a cargo feature.
const LINKER_VERSION: &str = "0.13.0";

pub(super) fn toolchain() -> Finding {
    match Toolchain::find() {
        Ok(found) => Finding::Ready(format!(
            "{}: rustc {}, LLVM {}, with the sources of core",
            found.compiler.name(),
            found.release,
            found.llvm_major
        )),
        Err(rejected) => {
            let reasons: Vec<_> =
                rejected.iter().map(|one| format!("{}: {}", one.name, one.reason)).collect();
            Finding::Missing(reasons.join("; "))
        }
    }
}

pub(super) fn linker() -> Finding {
    let Some(path) = search::linker() else {
        return Finding::Missing("not on PATH, not in ~/.cargo/bin".to_owned());
    };
    let Ok(toolchain) = Toolchain::find() else {
        return Finding::Ready(format!("{}; its LLVM is compared when there is a toolchain", path.display()));
    };
    compare(&path, &libraries(&path), toolchain.llvm_major)
}

/// The LLVM major to install a linker for: that of the toolchain found, else of the one that will be
/// installed.
pub(super) fn llvm_major() -> u32 {
    Toolchain::find().map_or(DISTRO_LLVM, |found| found.llvm_major)
}

/// The packages that `cargo install bpf-linker` needs.
pub(super) fn linker_packages(llvm_major: u32) -> [String; 2] {
    [format!("llvm-{llvm_major}-dev"), "g++".to_owned()]
}

/// For people without the packages above, where LLVM lies elsewhere.
pub(super) fn linker_command(llvm_major: u32) -> String {
    format!("LLVM_PREFIX=/usr/lib/llvm-{llvm_major} cargo {}", linker_arguments(llvm_major).join(" "))
}

/// Makes Debian's compiler known to rustup by the name that the build script looks for.
pub(super) fn link_distro_toolchain() -> Result<()> {
    if !rust_component::has_rustup() {
        return Ok(());
    }
    let out = Command::new("rustup")
        .args(["toolchain", "link", "distro", "/usr"])
        .output()
        .context("cannot run rustup toolchain link")?;
    if !out.status.success() {
        bail!("rustup toolchain link distro /usr failed:\n{}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

/// Compiles bpf-linker for the LLVM of the toolchain that is there now.
pub(super) fn install_linker() -> Result<()> {
    let llvm_major = llvm_major();
    let prefix = format!("/usr/lib/llvm-{llvm_major}");
    let step = Step::start("bpf-linker");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(linker_arguments(llvm_major))
        .current_dir("/") // not under the workspace's .cargo/config.toml
        .env("LLVM_PREFIX", prefix)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS");
    let mut crates = 0_usize;
    let outcome = step.run(&mut cargo, |step, line| {
        if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
            crates += 1;
            step.note(format!("compiling crate {crates}: {name}"));
        }
    })?;
    if !outcome.status.success() {
        step.end("failed", "");
        bail!("{} failed:\n{}", linker_command(llvm_major), outcome.output);
    }
    step.end("ok", &format!("version {LINKER_VERSION}, LLVM {llvm_major}"));
    Ok(())
}

fn linker_arguments(llvm_major: u32) -> Vec<String> {
    let fixed = [
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
        "--force",
        "--no-default-features",
    ];
    let mut arguments: Vec<_> = fixed.map(str::to_owned).into();
    arguments.extend(["--features".to_owned(), format!("llvm-{llvm_major}")]);
    arguments
}

/// What ldd says of it; empty where it cannot tell.
fn libraries(path: &Path) -> String {
    Command::new("ldd")
        .arg(path)
        .stderr(Stdio::null())
        .output()
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default()
}

fn compare(path: &Path, libraries: &str, wanted: u32) -> Finding {
    let path = path.display();
    match linked_llvm(libraries) {
        Some((library, _)) if libraries.contains(&format!("{library} => not found")) => {
            Finding::Missing(format!("{path} needs {library}, which is not installed"))
        }
        Some((_, major)) if major == wanted => Finding::Ready(format!("{path}, LLVM {major}")),
        Some((_, major)) => Finding::Missing(format!(
            "{path} is linked with LLVM {major}; the toolchain's bitcode is LLVM {wanted}"
        )),
        None => Finding::Ready(format!("{path}, static: its LLVM cannot be seen and must be {wanted}")),
    }
}

/// `libLLVM.so.22.1` or, before LLVM 18, `libLLVM-14.so.1`, with its major.
fn linked_llvm(libraries: &str) -> Option<(&str, u32)> {
    let library = libraries
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|name| name.starts_with("libLLVM"))?;
    let version = library.strip_prefix("libLLVM.so.").or_else(|| library.strip_prefix("libLLVM-"))?;
    let major = version.split('.').next()?.parse().ok()?;
    Some((library, major))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LDD: &str = "\tlinux-vdso.so.1 (0x00007f0970fde000)\n\
        \tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x00007f0967c00000)\n";

    fn verdict(libraries: &str, wanted: u32) -> Result<String, String> {
        match compare(Path::new("/x/bpf-linker"), libraries, wanted) {
            Finding::Ready(detail) => Ok(detail),
            Finding::Missing(reason) => Err(reason),
        }
    }

    #[test]
    fn the_same_llvm_is_accepted() {
        assert_eq!(verdict(LDD, 22), Ok("/x/bpf-linker, LLVM 22".to_owned()));
    }

    #[test]
    fn another_llvm_is_noticed() {
        assert!(verdict(LDD, 23).is_err_and(|reason| reason.contains("linked with LLVM 22")));
        assert!(verdict("\tlibLLVM-14.so.1 => /lib/x\n", 22).is_err_and(|reason| reason.contains("LLVM 14")));
    }

    #[test]
    fn a_library_that_is_gone_is_noticed() {
        assert!(
            verdict("\tlibLLVM.so.22.1 => not found\n", 22)
                .is_err_and(|reason| reason.contains("not installed"))
        );
    }

    #[test]
    fn a_static_linker_is_accepted_and_named_so() {
        assert!(verdict("\tstatically linked\n", 22).is_ok_and(|detail| detail.contains("static")));
    }
}
