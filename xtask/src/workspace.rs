// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the workspace is, and its cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The folder of the workspace's Cargo.toml. Asked at run time first: a clone may have been moved since it
/// was built.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The cargo that started xtask, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // `cargo run` describes xtask to xtask; in the next cargo these would describe nothing.
    for (variable, _) in env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"CARGO_PKG_") {
            cargo.env_remove(variable);
        }
    }
    cargo
}

/// `cargo metadata` with more arguments, parsed.
pub(crate) fn metadata(args: &[&str]) -> Result<Value> {
    let out = cargo()
        .args(["metadata", "--format-version=1"])
        .args(args)
        .output()
        .context("cannot run cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata failed:\n{}", String::from_utf8_lossy(&out.stderr));
    }
    serde_json::from_slice(&out.stdout).context("cargo metadata did not print JSON")
}

/// Set to `true` by CI services: there a skipped check is a failed one.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}
