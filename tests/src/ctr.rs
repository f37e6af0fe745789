// SPDX-License-Identifier: MIT OR Apache-2.0
//! A container of an image by `ctr`, in a containerd of its own without CRI: private folders and socket, in a node of the
//! test's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};

use crate::{
    image::programs::{Release, Unpacked},
    netns::Netns,
    poll,
    process::{Process, run_ok},
};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const CTR_TIMEOUT: Duration = Duration::from_secs(120);

/// A running containerd. Dropping it ends it, its containers and what they left mounted.
#[derive(Debug)]
pub struct Runtime {
    process: Option<Process>,
    programs: Unpacked,
    dir: tempfile::TempDir,
}

impl Runtime {
    /// Starts it in `node`, and waits until it answers.
    pub fn start(node: &Netns, release: Release) -> Result<Self> {
        let programs = Unpacked::of(&["containerd", "runc"], release)?;
        let dir =
            tempfile::Builder::new().prefix("natest-ctrd-").tempdir().context("cannot make a folder")?;
        let mut containerd = Self { process: None, programs, dir };
        let config = containerd.dir.path().join("config.toml");
        let text = format!(
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n",
            containerd.dir.path().join("root"),
            containerd.dir.path().join("state"),
            containerd.socket(),
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = node.command(containerd.programs.program("usr/bin/containerd")?);
        command.arg("--config").arg(&config).env("PATH", containerd.path());
        let log = containerd.log_path();
        let process = containerd.process.insert(Process::spawn_logged(&mut command, &log)?);
        poll::try_until("containerd to answer", START_TIMEOUT, || {
            if let Some(status) = process.try_wait()? {
                anyhow::bail!("containerd ended with {status}");
            }
            let mut ask = ctr_command(&containerd.programs, &containerd.dir.path().join("c.sock"))?;
            Ok(crate::process::run(ask.arg("version"), CTR_TIMEOUT)?.code.eq(&0).then_some(()))
        })
        .with_context(|| format!("containerd does not start; its log:\n{}", containerd.log()))?;
        Ok(containerd)
    }

    /// Its gRPC socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("c.sock")
    }

    /// Its own folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `ctr` on its socket, in the namespace where the kubelet's images and containers are.
    pub fn ctr(&self, args: &[&str]) -> Result<String> {
        let mut command = ctr_command(&self.programs, &self.socket())?;
        run_ok(command.args(["--namespace", "k8s.io"]).args(args).env("PATH", self.path()), CTR_TIMEOUT)
            .with_context(|| format!("containerd's log ends:\n{}", self.log_tail()))
    }

    /// Everything it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("containerd.log")
    }

    /// Its own runc and shims before the machine's.
    fn path(&self) -> String {
        let own = ["usr/bin", "usr/sbin"].map(|folder| self.programs.folder(folder).display().to_string());
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", own.join(":"))
    }

    /// Containers outlive containerd: they are ended while it can still do it.
    fn end_containers(&self) {
        let Ok(names) = self.ctr(&["tasks", "list", "--quiet"]) else { return };
        for name in names.lines() {
            self.ctr(&["tasks", "kill", "--all", "--signal", "SIGKILL", name]).ok();
            let gone = || self.ctr(&["tasks", "delete", "--force", name]).ok();
            poll::wait_until("the container to be gone", START_TIMEOUT, gone).ok();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end_containers();
        drop(self.process.take());
        // Root file systems and network namespaces of containers, the innermost first.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        let mut ours: Vec<_> = ours.filter(|path| path.starts_with(self.dir.path())).collect();
        ours.sort();
        for path in ours.into_iter().rev() {
            umount2(path, MntFlags::MNT_DETACH).ok();
        }
    }
}

fn ctr_command(programs: &Unpacked, socket: &Path) -> Result<Command> {
    let mut command = Command::new(programs.program("usr/bin/ctr")?);
    command.arg("--address").arg(socket);
    Ok(command)
}
