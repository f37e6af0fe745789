// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system of a stand-in guest: `/etc`, `/run` and `/var/lib` of its own, a host name, and the client that runs on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::{Ask, Client, Families, dhclient, dhcpcd, networkd, udhcpc};
use crate::{
    guest::LEASE_SCRIPT,
    netns::Netns,
    process::{Process, run, run_ok},
    resolver::Resolver,
    stand_in::GUEST_LINK,
};

const SCRIPT: &str = include_str!("../../guest/private.sh");
/// Enough for every request to a client, also on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Of the machine's `/etc`, what programs need to run: names of users, libraries, programs and protocols.
const ETC: [&str; 12] = [
    "alternatives",
    "dhcp",
    "gai.conf",
    "group",
    "host.conf",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "nsswitch.conf",
    "protocols",
    "services",
];

/// A guest's system. What is on its disk outlives [`System::power_off`]; dropping ends the client and removes all.
#[derive(Debug)]
pub struct System {
    // Ended first to last, before the folder goes.
    running: Vec<Process>,
    client: Client,
    families: Families,
    guest: PathBuf,
    guest_name: String,
    dir: tempfile::TempDir,
}

impl System {
    /// Makes the system's disk. Nothing runs yet.
    pub fn install(client: Client, guest: &Netns, families: Families) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("natest-system-").tempdir().context("cannot make a folder")?;
        let system = Self {
            running: Vec::new(),
            client,
            families,
            guest: guest.path().to_owned(),
            guest_name: guest.name().to_owned(),
            dir,
        };
        system.write_disk()?;
        system.prepare_kernel(guest)?;
        Ok(system)
    }

    fn write_disk(&self) -> Result<()> {
        for folder in ["etc", "lib/dhcp", "lib/dhcpcd", "lib/dbus", "run"] {
            let folder = self.path(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        // The daemons' own users go in and out.
        run_ok(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(self.dir.path()), TIMEOUT)?;
        let etc = self.path("etc");
        for name in ETC {
            let from = Path::new("/etc").join(name);
            if from.exists() {
                run_ok(Command::new("cp").arg("-a").arg(&from).arg(&etc), TIMEOUT)?;
            }
        }
        // Without the user `dhcpcd`: that client then stays one process, which ends when it is ended.
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let users: String = users
            .lines()
            .filter(|line| !line.starts_with("dhcpcd:"))
            .map(|line| format!("{line}\n"))
            .collect();
        self.write("etc/passwd", &users)?;
        self.write("etc/fstab", "")?;
        self.write("etc/resolv.conf", "")?;
        self.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        self.write("etc/machine-id", &format!("{}\n", self.machine_id()))?;
        self.write("private.sh", SCRIPT)?;
        self.write("etc/lease.sh", LEASE_SCRIPT)?;
        run_ok(Command::new("chmod").arg("0755").arg(self.path("etc/lease.sh")), TIMEOUT)?;
        match self.client {
            Client::Udhcpc => Ok(()),
            Client::Dhclient => dhclient::configure(self),
            Client::Dhcpcd => dhcpcd::configure(self),
            Client::Networkd => networkd::configure(self),
        }
    }

    /// 32 hexadecimal digits that no other guest has: daemons make their DHCP identities of them.
    fn machine_id(&self) -> String {
        let name = self.guest_name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{:016x}{:016x}", u64::from(process::id()) | 1 << 63, name)
    }

    /// The kernel's part in IPv6, as distributions have it for these clients.
    fn prepare_kernel(&self, guest: &Netns) -> Result<()> {
        let kernel = match self.client {
            Client::Udhcpc | Client::Dhclient => self.families.ipv6,
            Client::Dhcpcd | Client::Networkd => false,
        };
        guest.sysctl(&format!("ipv6/conf/{GUEST_LINK}/accept_ra"), if kernel { "2" } else { "0" })?;
        // Distributions leave it at 0, which ignores routes (RFC 4191); a guest that wants them sets it.
        guest.sysctl(&format!("ipv6/conf/{GUEST_LINK}/accept_ra_rt_info_max_plen"), "128")
    }

    /// Starts the client, as at boot.
    pub fn start(&mut self) -> Result<()> {
        if !self.running.is_empty() {
            bail!("{} runs already", self.client);
        }
        self.running = match self.client {
            Client::Udhcpc => udhcpc::start(self)?,
            Client::Dhclient => dhclient::start(self)?,
            Client::Dhcpcd => dhcpcd::start(self)?,
            Client::Networkd => networkd::start(self)?,
        };
        Ok(())
    }

    /// Power off: client and kernel forget, `/run` is empty; the disk stays.
    pub fn power_off(&mut self) -> Result<()> {
        self.running.clear();
        for words in [
            &["link", "set", GUEST_LINK, "down"][..],
            &["address", "flush", "dev", GUEST_LINK],
            &["route", "flush", "dev", GUEST_LINK],
            &["link", "set", GUEST_LINK, "up"],
        ] {
            // A flush of nothing is no failure.
            run(self.inside("ip").args(words), TIMEOUT)?;
        }
        fs::remove_dir_all(self.path("run")).context("cannot empty /run")?;
        fs::create_dir(self.path("run")).context("cannot make /run")
    }

    /// The card loses its carrier and gets it back: as when a cable is pulled, or a guest is moved.
    pub(super) fn replug(&self) -> Result<()> {
        for carrier in ["off", "on"] {
            run_ok(self.inside("ip").args(["link", "set", GUEST_LINK, "carrier", carrier]), TIMEOUT)?;
        }
        Ok(())
    }

    /// Why this client cannot be made to do something.
    pub fn cannot(client: Client, ask: Ask) -> Option<&'static str> {
        match client {
            Client::Udhcpc => udhcpc::cannot(ask),
            Client::Dhclient => dhclient::cannot(ask),
            Client::Dhcpcd => None,
            Client::Networkd => networkd::cannot(ask),
        }
    }

    /// Makes the running client do something; what it does is seen on the wire.
    pub fn ask(&mut self, ask: Ask) -> Result<()> {
        if let Some(why) = Self::cannot(self.client, ask) {
            bail!("{} cannot: {why}", self.client);
        }
        match self.client {
            Client::Udhcpc => udhcpc::ask(self, ask),
            Client::Dhclient => dhclient::ask(self, ask),
            Client::Dhcpcd => dhcpcd::ask(self, ask),
            Client::Networkd => networkd::ask(self, ask),
        }
    }

    /// Has a client that would not do it by itself take DHCPv4 messages as large as its link does, when it starts.
    pub fn take_whole_frames(&self) -> Result<()> {
        match self.client {
            Client::Dhclient => dhclient::take_whole_frames(self),
            // The one has 576 bytes built in, the others tell their link's size.
            Client::Udhcpc | Client::Dhcpcd | Client::Networkd => Ok(()),
        }
    }

    /// The client's record of its DHCPv4 leases, in its own words.
    pub fn leases(&self) -> Result<String> {
        match self.client {
            Client::Dhclient => dhclient::leases(self),
            other => bail!("nobody has looked for the record of {other}"),
        }
    }

    /// What the guest's resolver was told.
    pub fn resolver(&self) -> Result<Resolver> {
        match self.client {
            Client::Networkd => networkd::resolver(self),
            _ => Ok(Resolver::parse(&self.read("etc/resolv.conf")?)),
        }
    }

    /// The host name, as the client has it or has set it.
    pub fn host_name(&self) -> Result<Option<String>> {
        match self.client {
            Client::Udhcpc => udhcpc::host_name(self),
            Client::Networkd => networkd::host_name(self),
            Client::Dhclient | Client::Dhcpcd => self.kernel_host_name(),
        }
    }

    /// What the client said, all its processes.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn kernel_host_name(&self) -> Result<Option<String>> {
        let Some(process) = self.running.first() else { return Ok(None) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--uts=/proc/{}/ns/uts", process.pid())).arg("hostname");
        let name = run_ok(&mut command, TIMEOUT)?.trim().to_owned();
        Ok((name != "localhost").then_some(name))
    }

    pub(super) fn families(&self) -> Families {
        self.families
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log_path(&self) -> PathBuf {
        self.path("client.log")
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// A program in the guest's network, with this machine's files.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.guest.display())).arg(program);
        command
    }

    /// A program of the guest's system. Its process id is the program's own.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = self.inside("unshare");
        command
            .args(["--mount", "--uts", "sh"])
            .arg(self.path("private.sh"))
            .arg(self.dir.path())
            .arg(program);
        command.env("OUTSIDE", process::id().to_string());
        command
    }

    /// Starts a program of the guest's system.
    pub(super) fn spawn(&self, mut command: Command) -> Result<Process> {
        Process::spawn_logged(&mut command, &self.log_path())
    }

    /// Runs a program of the guest's system to its end.
    pub(super) fn run(&self, mut command: Command) -> Result<()> {
        run_ok(&mut command, TIMEOUT).map(drop)
    }

    /// Sends a signal to the client.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        self.running.first_mut().context("no client runs")?.signal(signal)
    }

    /// Waits for the end of a client that has been told to end.
    pub(super) fn wait_end(&mut self) -> Result<()> {
        self.running.drain(..).try_for_each(|mut process| process.wait(TIMEOUT).map(drop))
    }
}
