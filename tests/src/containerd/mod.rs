// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real containerd of a test's own: its folders, sockets and network are private, and all that it started ends with it.

mod config;
mod left;
mod pause;

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub use crate::image::Containerd as Release;
use crate::{
    netns::Netns,
    poll,
    process::{Process, run_ok, shell_code},
};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const CTR_TIMEOUT: Duration = Duration::from_secs(60);
/// Where containerd's CRI keeps its images and containers.
const CRI_NAMESPACE: &str = "k8s.io";

/// A running containerd. Dropping ends it, its shims and containers, and unmounts what they mounted.
#[derive(Debug)]
pub struct Containerd {
    process: Option<Process>,
    release: Release,
    root: PathBuf,
    node: Netns,
    dir: tempfile::TempDir,
}

impl Containerd {
    /// Makes everything that it needs, and does not start it.
    pub fn prepare(release: Release) -> Result<Self> {
        let root = release.ensure(&|what| eprintln!("containerd: {what}"))?;
        let dir = tempfile::Builder::new().prefix("natest-ctd-").tempdir().context("cannot make a folder")?;
        let node = Netns::new("ctd")?;
        config::write(release, &root, dir.path())?;
        Ok(Self { process: None, release, root, node, dir })
    }

    /// Prepares and starts it, with an image for the pods' sandboxes.
    pub fn start(release: Release) -> Result<Self> {
        let mut containerd = Self::prepare(release)?;
        containerd.run()?;
        Ok(containerd)
    }

    /// Starts it (again, on the same folders) and waits until it answers.
    pub fn run(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("containerd runs already");
        }
        // Not `ip netns exec`: that mounts another /sys, where runc finds no cgroups.
        let mut command = self.node.command(self.root.join("usr/bin/containerd"));
        command.arg("--config").arg(config::file(self.dir.path()));
        // It starts its shims by name.
        command.env("PATH", self.path_variable());
        let mut process = Process::spawn_logged(&mut command, &self.log_path())?;
        let up = poll::try_until("containerd to answer", START_TIMEOUT, || {
            if let Some(status) = process.try_wait()? {
                bail!("containerd ended with {}", shell_code(status));
            }
            if UnixStream::connect(self.socket()).is_err() {
                return Ok(None);
            }
            let plugins = run_ok(self.ctr().args(["plugins", "ls"]), CTR_TIMEOUT)?;
            let cri = |line: &str| line.contains("io.containerd.grpc.v1") && line.contains(" cri ");
            Ok(plugins.lines().any(|line| cri(line) && line.trim_end().ends_with("ok")).then_some(()))
        });
        up.with_context(|| format!("containerd does not start; its log:\n{}", self.log()))?;
        self.process = Some(process);
        if run_ok(self.ctr().args(["images", "ls", "-q"]), CTR_TIMEOUT)?.trim().is_empty() {
            self.import(&pause::archive(self.dir.path())?)?;
        }
        Ok(())
    }

    /// SIGKILL for containerd alone: its pods go on.
    pub fn kill9(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill9().map(drop),
            None => bail!("containerd does not run"),
        }
    }

    /// Its process, to be stopped and let go on.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Imports an archive of images, as `docker save` and OCI have them, for pods to use.
    pub fn import(&self, archive: &Path) -> Result<()> {
        run_ok(self.ctr().args(["images", "import"]).arg(archive), CTR_TIMEOUT).map(drop)
    }

    /// `ctr` on this containerd, in the namespace of its pods.
    pub fn ctr(&self) -> Command {
        let mut command = Command::new(self.root.join("usr/bin/ctr"));
        command.arg("--address").arg(self.socket()).args(["--namespace", CRI_NAMESPACE]);
        command
    }

    /// The network that stands for the node's.
    pub fn node(&self) -> &Netns {
        &self.node
    }

    /// Which it is.
    pub fn release(&self) -> Release {
        self.release
    }

    /// Its socket, which serves CRI too.
    pub fn socket(&self) -> PathBuf {
        config::socket(self.dir.path())
    }

    /// The socket for NRI's plugins, of those that have it.
    pub fn nri_socket(&self) -> PathBuf {
        config::nri_socket(self.dir.path())
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("containerd.log")
    }

    fn path_variable(&self) -> String {
        let own = ["usr/bin", "usr/sbin"].map(|dir| self.root.join(dir).display().to_string());
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", own.join(":"))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "--- containerd's log ends:\n{}\n---",
                lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
            );
        }
        // Nobody must start anything any more.
        drop(self.process.take());
        left::end(self.dir.path());
    }
}
