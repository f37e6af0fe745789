// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real guest kernel without an emulator: user-mode Linux on a tap that exists. Under an emulated kernel it is the
//! only guest that is fast enough; on a real one QEMU comes closer to what people run.

use std::{
    env, fs,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    lease::Lease,
    netns::Netns,
    poll,
    process::{Process, shell_code},
};

const MEMORY_MIB: u32 = 128;
/// Where its memory lies, as a file.
const SHARED_MEMORY: &str = "/dev/shm";

/// What to boot.
#[derive(Clone, Debug)]
pub struct UmlSpec {
    /// Name of the tap, in the guest's namespace. It has to exist, made with the vnet header.
    pub tap: String,
    /// MAC address of the guest's card.
    pub mac: String,
    /// What the guest pings once it has its lease.
    pub pings: Vec<IpAddr>,
}

/// A running guest: an iperf3 server and a DHCP client. Dropping it kills it; the tap stays.
#[derive(Debug)]
pub struct Uml {
    process: Process,
    started: Instant,
    // Dropped last: the console is a file in it.
    dir: tempfile::TempDir,
}

/// Folder with the program `linux` and its `initrd.cpio`: `NETAGENT_UML`, which `cargo xtask vm` sets.
pub fn folder() -> Result<PathBuf> {
    let dir = env::var_os("NETAGENT_UML")
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("NETAGENT_UML is not set: run the test by `cargo xtask vm`"))?;
    if !dir.join("linux").is_file() {
        bail!("NETAGENT_UML names {}, which has no program `linux`", dir.display());
    }
    Ok(dir)
}

impl Uml {
    /// Starts it inside `netns`, where the tap is. Returns long before the guest is up.
    pub fn boot(netns: &Netns, spec: &UmlSpec) -> Result<Self> {
        let files = folder()?;
        let dir = tempfile::Builder::new().prefix("natest-uml-").tempdir().context("cannot make a folder")?;
        let pings: Vec<_> = spec.pings.iter().map(ToString::to_string).collect();
        let mut command = netns.command(files.join("linux"));
        command
            .arg(format!("mem={MEMORY_MIB}M"))
            .arg(format!("initrd={}", files.join("initrd.cpio").display()))
            .args(["con=null", "con0=null,fd:1", "ssl=null", "quiet", "panic=-1"])
            // Without gro it drops unsegmented TCP.
            .arg(format!("vec0:transport=tap,ifname={},depth=128,gro=1,mac={}", spec.tap, spec.mac))
            .arg(format!("netagent.ping={}", pings.join(",")))
            .env("TMPDIR", SHARED_MEMORY)
            .env("HOME", dir.path());
        let started = Instant::now();
        let process = Process::spawn_logged(&mut command, &dir.path().join("console.log"))?;
        Ok(Self { process, started, dir })
    }

    /// Waits for the lease and gives it with the time since the start.
    pub fn wait_lease(&mut self, timeout: Duration) -> Result<(Lease, Duration)> {
        let lease = self.wait("a lease in the guest", timeout, Lease::from_line)?;
        Ok((lease?, self.started.elapsed()))
    }

    /// Waits until the guest has pinged; an error when one of its targets did not answer.
    pub fn wait_pinged(&mut self, timeout: Duration) -> Result<()> {
        self.wait("the guest's pings", timeout, |line| (line == "@ready").then_some(()))?;
        let console = self.console();
        match console
            .lines()
            .find(|line| line.starts_with("@fail ") || line.starts_with("@ping ") && line.contains(" FAILED"))
        {
            Some(failure) => bail!("the guest says {failure}"),
            None => Ok(()),
        }
    }

    /// Everything the console printed.
    pub fn console(&self) -> String {
        fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default()
    }

    fn wait<T>(&mut self, what: &str, timeout: Duration, found: impl Fn(&str) -> Option<T>) -> Result<T> {
        poll::try_until(what, timeout, || {
            let console = self.console();
            // The last line may still be on its way.
            let whole = console.rfind('\n').and_then(|end| console.get(..end)).unwrap_or_default();
            if let Some(found) = whole.lines().find_map(|line| found(line.trim_end_matches('\r'))) {
                return Ok(Some(found));
            }
            match self.process.try_wait()? {
                Some(status) => bail!("user-mode Linux ended with {}", shell_code(status)),
                None => Ok(None),
            }
        })
        .with_context(|| format!("the guest's console:\n{}", self.console().trim_end()))
    }
}
