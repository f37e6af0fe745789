// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask run`: the agent by hand, as root, with a bpffs.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt as _,
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{build, privilege::Privilege, setup};

const BPFFS: &str = "/sys/fs/bpf";

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed to `netagent run`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Becomes `netagent run ARGS`; returns only when that cannot be.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[setup::Need::Build])?;
    let agent = build::agent()?;
    let privilege = Privilege::get().map_err(|reason| anyhow!("the agent needs root: {reason}"))?;
    if !args.args.iter().any(|arg| arg.as_encoded_bytes().starts_with(b"--bpffs")) && !is_bpffs(BPFFS)? {
        mount_bpffs(privilege)?;
    }
    let log = std::env::var_os("NETAGENT_LOG");
    let environment = log.as_deref().map(|filter: &OsStr| ("NETAGENT_LOG", filter));
    let error = privilege.command(&agent, environment).arg("run").args(&args.args).exec();
    Err(error).with_context(|| format!("cannot run {}", agent.display()))
}

fn mount_bpffs(privilege: Privilege) -> Result<()> {
    eprintln!("mounting a bpffs at {BPFFS}: there is none, and netagent keeps its pins there");
    let status = privilege
        .command("mount", [])
        .args(["-t", "bpf", "bpf", BPFFS])
        .status()
        .context("cannot run mount")?;
    if !status.success() {
        bail!("cannot mount a bpffs at {BPFFS}; give another one by --bpffs DIR");
    }
    Ok(())
}

fn is_bpffs(path: &str) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(mounts.lines().any(|line| is_bpffs_at(line, path)))
}

/// proc_pid_mountinfo(5): the fifth field is the mount point; the file system type follows " - ".
fn is_bpffs_at(line: &str, path: &str) -> bool {
    let Some((mount, device)) = line.split_once(" - ") else { return false };
    mount.split(' ').nth(4) == Some(path) && device.split(' ').next() == Some("bpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpffs_at_that_place_counts() {
        let line = "35 24 0:30 / /sys/fs/bpf rw,nosuid shared:11 - bpf bpf rw,mode=700";
        assert!(is_bpffs_at(line, "/sys/fs/bpf"));
        assert!(!is_bpffs_at(line, "/sys/fs"));
        assert!(!is_bpffs_at(&line.replace("- bpf", "- tmpfs"), "/sys/fs/bpf"));
    }
}
