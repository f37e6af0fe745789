// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stand-in for virt-launcher: a process of QEMU's user in the pod, with a socket where the kubelet has the pod's.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{netns::Netns, poll, process::Process};

/// User and group of QEMU in a launcher.
pub const QEMU: u32 = 107;
const START: Duration = Duration::from_secs(20);

/// Gives the pod its own files, becomes QEMU's user, and lets itself be connected to. In the socket's directory, because
/// the whole path of a temporary one is longer than an address may be.
const SCRIPT: &str = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/hostname && cd \"$3\" && exec \
    setpriv --reuid=\"$4\" --regid=\"$4\" --clear-groups perl -MIO::Socket::UNIX -e 'my $s = \
    IO::Socket::UNIX->new(Local => \"launcher-sock\", Listen => 8) or die \"listen: $!\"; while (my $c = $s->accept) { \
    close $c }'";

/// A launcher that runs. Dropping it ends the process.
#[derive(Debug)]
pub struct Launcher {
    process: Process,
    socket: PathBuf,
}

impl Launcher {
    /// Starts one in `pod`, as pod `uid` below the kubelet's directory `kubelet`, and waits until it listens.
    pub fn start(pod: &Netns, kubelet: &Path, uid: &str, resolv_conf: &Path, hostname: &str) -> Result<Self> {
        let sockets = kubelet.join("pods").join(uid).join("volumes/kubernetes.io~empty-dir/sockets");
        fs::create_dir_all(&sockets).with_context(|| format!("cannot make {}", sockets.display()))?;
        chown(&sockets, Some(QEMU), Some(QEMU)).context("cannot give the launcher its folder")?;
        // Below a temporary folder, which is its maker's alone.
        for folder in sockets.ancestors().take_while(|folder| folder.starts_with(kubelet)) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot open {}", folder.display()))?;
        }
        let name = kubelet.join(format!("{uid}.hostname"));
        fs::write(&name, format!("{hostname}\n"))
            .with_context(|| format!("cannot write {}", name.display()))?;
        let socket = sockets.join("launcher-sock");
        let mut command = pod.command("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
        command.args([resolv_conf, &name, &sockets]).arg(QEMU.to_string());
        command.env("POD_NAME", format!("virt-launcher-{hostname}-x7k2p"));
        let log = kubelet.join(format!("{uid}.log"));
        let process = Process::spawn_logged(&mut command, &log)?;
        poll::wait_until("the stand-in launcher to listen", START, || socket.exists().then_some(()))
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { process, socket })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
