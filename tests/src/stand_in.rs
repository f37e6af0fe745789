// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest without QEMU: a namespace whose `eth0` is joined to the pod's tap by a frame pump.
//!
//! The pump does what a VMM does: it opens the tap with the vnet header and moves frames, header included, so that
//! partial checksums and unsegmented TCP pass as they do to a virtio card.

use std::{
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{fcntl::OFlag, unistd::pipe2};

use crate::{
    guest::LEASE_SCRIPT,
    lease::{DhcpClient, Lease},
    netns::Netns,
    poll,
    process::Process,
    tap::{FRAME_MAX, Offloads, Tap, TapSpec, VNET_HEADER, wait_readable},
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
}

impl StandInSpec {
    /// One queue, offloads on.
    pub fn new(tap: &str, mac: &str) -> Self {
        Self { tap: tap.to_owned(), mac: mac.to_owned(), multi_queue: false, offloads: Offloads::On }
    }
}

impl StandIn {
    /// Opens the pod's tap and starts pumping. The guest's card is up and has no address.
    pub fn start(pod: &Netns, spec: &StandInSpec) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("natest-standin-").tempdir().context("cannot make a folder")?;
        let guest = Netns::new("guest")?;
        let offloads = spec.offloads;
        let port = Tap::open(pod, &spec.tap, TapSpec { offloads, multi_queue: spec.multi_queue })?;
        let card = Tap::open(&guest, GUEST_LINK, TapSpec { offloads, multi_queue: false })?;
        guest.sysctl(&format!("ipv6/conf/{GUEST_LINK}/accept_dad"), "0")?;
        guest.ip(&format!("link set {GUEST_LINK} address {} txqueuelen {QUEUE_LENGTH}", spec.mac))?;
        let pump = Pump::start(port, card)?;
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
        self.pump.lost.set(fits).ok().context("this guest loses frames already")
    }

    /// Frames that a tap refused since the start (it was down, say): both directions.
    pub fn refused(&self) -> u64 {
        self.pump.refused.load(Ordering::Relaxed)
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

/// Whether it is a frame of some kind.
type Fits = fn(&[u8]) -> bool;

/// Two threads that move frames until the value is dropped.
#[derive(Debug)]
struct Pump {
    refused: Arc<AtomicU64>,
    /// What does not get from the guest to the pod.
    lost: Arc<OnceLock<Fits>>,
    /// Closing it ends the threads.
    stop: Option<OwnedFd>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pump {
    fn start(left: Tap, right: Tap) -> Result<Self> {
        // Not for children: one that holds the other end would keep the threads going.
        let (stopped, stop) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        let (left, right, stopped) = (Arc::new(left), Arc::new(right), Arc::new(stopped));
        let refused = Arc::new(AtomicU64::new(0));
        let (nothing, lost) = (Arc::default(), Arc::default());
        let threads = [(Arc::clone(&left), Arc::clone(&right), nothing), (right, left, Arc::clone(&lost))]
            .into_iter()
            .map(|(from, to, lost)| {
                let (stopped, refused) = (Arc::clone(&stopped), Arc::clone(&refused));
                thread::spawn(move || carry(&from, &to, &stopped, &refused, &lost))
            })
            .collect();
        Ok(Self { refused, lost, stop: Some(stop), threads })
    }
}

/// Moves frames one way until `stopped` is closed or the source is gone.
fn carry(from: &Tap, to: &Tap, stopped: &OwnedFd, refused: &AtomicU64, lost: &OnceLock<Fits>) {
    let mut buffer = vec![0; FRAME_MAX];
    loop {
        match wait_readable(&[from.as_fd(), stopped.as_fd()], None).as_deref() {
            Ok([true, false]) => {}
            // Woken for nothing.
            Ok([false, false]) => continue,
            _ => return,
        }
        // Fails when the tap was deleted: there is nothing left to move.
        let Ok(length) = from.read(&mut buffer) else { return };
        let frame = buffer.get(..length).unwrap_or_default();
        if lost.get().is_some_and(|fits| frame.get(VNET_HEADER..).is_some_and(fits)) {
            continue;
        }
        if to.write(frame).is_err() {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}
