// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest without QEMU: a namespace whose `eth0` is joined to the pod's tap by a frame pump.
//!
//! The pump does what a VMM does: it opens the tap with the vnet header and moves frames, header included, so that
//! partial checksums and unsegmented TCP pass as they do to a virtio card.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    guest::LEASE_SCRIPT,
    lease::{DhcpClient, Lease},
    netns::Netns,
    poll,
    process::Process,
    pump::{Fits, Pump},
    tap::{Offloads, Tap, TapSpec},
};

/// The guest's card.
pub const GUEST_LINK: &str = "eth0";
/// Room for bursts towards the pump; the default of 1000 loses some on a busy machine.
const QUEUE_LENGTH: u32 = 10_000;

/// A stand-in guest. Dropping it stops the pump and removes the namespace; the pod's tap stays.
#[derive(Debug)]
pub struct StandIn {
    // Dropped in this order: the pump holds the taps open.
    pump: Pump,
    /// The guest's world.
    pub guest: Netns,
    dir: tempfile::TempDir,
}

/// What to join.
#[derive(Clone, Debug)]
pub struct StandInSpec {
    /// Name of the tap in the pod.
    pub tap: String,
    /// MAC address of the guest's card.
    pub mac: String,
    /// Whether the tap was made for several queues.
    pub multi_queue: bool,
    /// What the guest's card can do, on both sides of the pump.
    pub offloads: Offloads,
    /// Where the pump's threads stay; anywhere if none.
    pub cpu: Option<usize>,
}

impl StandInSpec {
    /// One queue, offloads on.
    pub fn new(tap: &str, mac: &str) -> Self {
        Self {
            tap: tap.to_owned(),
            mac: mac.to_owned(),
            multi_queue: false,
            offloads: Offloads::On,
            cpu: None,
        }
    }
}

impl StandIn {
    /// Opens the pod's tap and starts pumping. The guest's card is up and has no address.
    pub fn start(pod: &Netns, spec: &StandInSpec) -> Result<Self> {
        let tap = TapSpec { offloads: spec.offloads, multi_queue: spec.multi_queue };
        Self::join(Tap::open(pod, &spec.tap, tap)?, spec)
    }

    /// As [`start`](Self::start), on a queue that is open already.
    pub fn join(port: Tap, spec: &StandInSpec) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("natest-standin-").tempdir().context("cannot make a folder")?;
        let guest = Netns::new("guest")?;
        let card = Tap::open(&guest, GUEST_LINK, TapSpec { offloads: spec.offloads, multi_queue: false })?;
        guest.sysctl(&format!("ipv6/conf/{GUEST_LINK}/accept_dad"), "0")?;
        guest.ip(&format!("link set {GUEST_LINK} address {} txqueuelen {QUEUE_LENGTH}", spec.mac))?;
        let pump = Pump::start(port, card, spec.cpu)?;
        guest.ip(&format!("link set {GUEST_LINK} up"))?;
        Ok(Self { pump, guest, dir })
    }

    /// Starts a real DHCP client in the guest; it goes on (and renews) until the value is dropped.
    pub fn dhcp(&self, client: DhcpClient) -> Result<RunningClient> {
        let path = |name: &str| self.dir.path().join(name);
        let script = path("lease.sh");
        if !script.exists() {
            // Through a new file and a rename: a script that is open for writing cannot be executed.
            let new = path("lease.sh.new");
            fs::write(&new, LEASE_SCRIPT).with_context(|| format!("cannot write {}", new.display()))?;
            fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .with_context(|| format!("cannot make {} executable", new.display()))?;
            fs::rename(&new, &script).with_context(|| format!("cannot make {}", script.display()))?;
        }
        let leases = path(&format!("{client}.seen"));
        fs::write(&leases, "").with_context(|| format!("cannot write {}", leases.display()))?;
        let resolv_conf = path("resolv.conf");
        let mut command = match client {
            DhcpClient::Udhcpc => self.udhcpc(&script),
            DhcpClient::Dhclient => self.dhclient(&script, &leases, &resolv_conf),
        };
        command.env("LEASE_OUT", &leases).env("RESOLV_CONF", &resolv_conf);
        let log = path(&format!("{client}.log"));
        let process = Process::spawn_logged(&mut command, &log)?;
        Ok(RunningClient { process, leases, log, resolv_conf })
    }

    fn udhcpc(&self, script: &std::path::Path) -> Command {
        let mut command = self.guest.command("udhcpc");
        command.args(["-f", "-i", GUEST_LINK, "-t", "20", "-T", "1", "-s"]).arg(script);
        for option in ["search", "mtu", "staticroutes", "58", "59"] {
            command.args(["-O", option]);
        }
        command
    }

    fn dhclient(
        &self,
        script: &std::path::Path,
        leases: &std::path::Path,
        resolv_conf: &std::path::Path,
    ) -> Command {
        let mut command = self.guest.command("dhclient");
        command.args(["-d", "-sf"]).arg(script);
        command.arg("-lf").arg(self.dir.path().join("dhclient.leases"));
        command.arg("-pf").arg(self.dir.path().join("dhclient.pid"));
        // Its script sees these variables only.
        command.arg("-e").arg(format!("LEASE_OUT={}", leases.display()));
        command.arg("-e").arg(format!("RESOLV_CONF={}", resolv_conf.display()));
        command.arg(GUEST_LINK);
        command
    }

    /// From now on, frames that `fits` are lost on their way from the guest's card to the pod's tap. In the guest they are
    /// seen to leave. Once for a guest.
    pub fn lose(&self, fits: Fits) -> Result<()> {
        self.pump.lose(fits)
    }

    /// CPU time of the pump since the start, with what the kernel does within its calls.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.pump.cpu_time()
    }

    /// Frames that a tap refused since the start (it was down, say): both directions.
    pub fn refused(&self) -> u64 {
        self.pump.refused()
    }
}

/// A DHCP client that runs in a stand-in guest.
#[derive(Debug)]
pub struct RunningClient {
    /// The client.
    pub process: Process,
    leases: PathBuf,
    log: PathBuf,
    resolv_conf: PathBuf,
}

impl RunningClient {
    /// The first lease it gets.
    pub fn wait_lease(&self, timeout: Duration) -> Result<Lease> {
        self.wait_lease_after(0, timeout)
    }

    /// A lease after `seen` earlier ones: renewals report again.
    pub fn wait_lease_after(&self, seen: usize, timeout: Duration) -> Result<Lease> {
        poll::try_until("a lease in the stand-in guest", timeout, || Ok(self.leases()?.into_iter().nth(seen)))
            .with_context(|| {
                format!("the client's log:\n{}", fs::read_to_string(&self.log).unwrap_or_default())
            })
    }

    /// All leases it reported so far.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let text = fs::read_to_string(&self.leases)
            .with_context(|| format!("cannot read {}", self.leases.display()))?;
        // The last line may still be on its way.
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        whole.lines().filter_map(Lease::from_line).collect()
    }

    /// What it wrote for the resolver.
    pub fn resolv_conf(&self) -> String {
        fs::read_to_string(&self.resolv_conf).unwrap_or_default()
    }
}
