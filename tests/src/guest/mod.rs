// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real guest: QEMU on a tap that exists, driven through its serial console.

mod accel;
mod bare;
mod console;
mod tsc;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use self::console::Console;
pub use self::{accel::Accel, bare::Bare};
use crate::{
    image::Image,
    lease::{DhcpClient, Lease},
    netns::Netns,
    poll,
    process::{Process, shell_code},
};

/// Action script of udhcpc and dhclient, for guests of all kinds.
pub const LEASE_SCRIPT: &str = include_str!("../../guest/lease.sh");
/// UDP port on which the guest echoes datagrams.
pub const ECHO_PORT: u16 = 7;
/// TCP and UDP ports of the guest's two iperf3 servers.
pub const IPERF_PORTS: [u16; 2] = [5201, 5202];
const MEMORY_MIB: u32 = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to boot.
#[derive(Clone, Debug)]
pub struct GuestSpec {
    /// Name of the tap, in the guest's namespace. It has to exist, made with the vnet header.
    pub tap: String,
    /// MAC address of the guest's card.
    pub mac: String,
    /// Who asks for the lease; nobody if none.
    pub dhcp: Option<DhcpClient>,
    /// Queue pairs of the card, as many as the tap was made for.
    pub queues: u16,
    /// KVM or TCG; `None` finds out.
    pub accel: Option<Accel>,
}

impl GuestSpec {
    /// One queue, udhcpc.
    pub fn new(tap: &str, mac: &str) -> Self {
        Self {
            tap: tap.to_owned(),
            mac: mac.to_owned(),
            dhcp: Some(DhcpClient::Udhcpc),
            queues: 1,
            accel: None,
        }
    }
}

/// A running guest. Dropping it kills QEMU and waits for its end; the tap stays.
#[derive(Debug)]
pub struct Guest {
    console: Console,
    process: Process,
    started: Instant,
    accel: Accel,
    console_socket: PathBuf,
    dir: tempfile::TempDir,
}

impl Guest {
    /// Starts QEMU inside `netns`, where the tap is. Returns when it runs, long before the guest is up.
    pub fn boot(image: &Image, netns: &Netns, spec: &GuestSpec) -> Result<Self> {
        let accel = spec.accel.map_or_else(|| Accel::detect(image), Ok)?;
        let dir =
            tempfile::Builder::new().prefix("natest-guest-").tempdir().context("cannot make a folder")?;
        let console_socket = dir.path().join("console");
        let mut command = netns.command("qemu-system-x86_64");
        accel.machine(&mut command);
        machine(&mut command, &image.kernel(), &image.initrd(), MEMORY_MIB);
        serial(&mut command, &console_socket, &dir.path().join("console.log"));
        card(&mut command, spec);
        let dhcp = spec.dhcp.map_or("none", DhcpClient::name);
        command.arg("-append").arg(format!("{} netagent.dhcp={dhcp}", accel.kernel_arguments()?));

        let started = Instant::now();
        let log = dir.path().join("qemu.log");
        let mut process = Process::spawn_logged(&mut command, &log)?;
        let console = connect(&mut process, &console_socket, &log)?;
        Ok(Self { console, process, started, accel, console_socket, dir })
    }

    /// Waits for the first lease and gives it with the time since QEMU's start.
    pub fn wait_lease(&self, timeout: Duration) -> Result<(Lease, Duration)> {
        self.wait_lease_after(0, timeout)
    }

    /// Waits for a lease line after the first `seen` ones: renewals report again.
    pub fn wait_lease_after(&self, seen: usize, timeout: Duration) -> Result<(Lease, Duration)> {
        let (at, lease) = self.console.wait("a lease in the guest", timeout, seen, Lease::from_line)?;
        Ok((lease?, at.duration_since(self.started)))
    }

    /// Waits until the guest takes commands and its servers were started.
    pub fn wait_ready(&self, timeout: Duration) -> Result<Duration> {
        let ready = |line: &str| (line == "@ready").then_some(());
        let (at, ()) = self.console.wait("the guest to be ready", timeout, 0, ready)?;
        Ok(at.duration_since(self.started))
    }

    /// Runs a shell command in the guest: its exit code and all it printed. One at a time.
    pub fn sh(&self, command: &str, timeout: Duration) -> Result<(i32, String)> {
        self.console.command(command, timeout)
    }

    /// As [`Guest::sh`]; any exit code but 0 is an error.
    pub fn sh_ok(&self, command: &str, timeout: Duration) -> Result<String> {
        match self.sh(command, timeout)? {
            (0, output) => Ok(output),
            (code, output) => bail!("`{command}` in the guest ended with {code}: {}", output.trim()),
        }
    }

    /// Starts a shell on the console and lets go of it: a person can connect to the socket that is returned.
    pub fn hand_over(&self) -> Result<&Path> {
        self.console.hand_over()?;
        Ok(&self.console_socket)
    }

    /// KVM or TCG.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its working folder: console socket and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything the console printed.
    pub fn transcript(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the guest's console:\n{}\n---", self.transcript().trim());
        }
    }
}

/// Waits for QEMU's socket.
fn connect(process: &mut Process, socket: &Path, log: &Path) -> Result<Console> {
    poll::try_until("QEMU to open the guest's console", CONNECT_TIMEOUT, || {
        if let Some(status) = process.try_wait()? {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("QEMU ended with {}: {}", shell_code(status), said.trim());
        }
        Ok(Console::connect(socket).ok())
    })
}

fn machine(command: &mut Command, kernel: &Path, initrd: &Path, memory_mib: u32) {
    command.args([
        "-m",
        &memory_mib.to_string(),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
    ]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
}

fn serial(command: &mut Command, socket: &Path, log: &Path) {
    // wait=on: QEMU holds the guest until somebody listens, so that no line is lost.
    command.arg("-chardev").arg(format!(
        "socket,id=console,path={},server=on,wait=on,logfile={}",
        socket.display(),
        log.display()
    ));
    command.args(["-serial", "chardev:console"]);
}

fn card(command: &mut Command, spec: &GuestSpec) {
    let GuestSpec { tap, mac, queues, .. } = spec;
    let (netdev_queues, device_queues) =
        if *queues > 1 { (format!(",queues={queues}"), ",mq=on") } else { (String::new(), "") };
    command
        .args(["-smp", &queues.to_string()])
        .arg("-netdev")
        .arg(format!("tap,id=net,ifname={tap},script=no,downscript=no,vhost=off{netdev_queues}"))
        .arg("-device")
        .arg(format!("virtio-net-device,netdev=net,mac={mac}{device_queues}"));
}
