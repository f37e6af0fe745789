// SPDX-License-Identifier: MIT OR Apache-2.0
//! One variant standing ready: a pod, its tap held open as a VMM holds it, and where its frames are counted.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    tap::{Tap, TapSpec},
    topology::{GATEWAY4, HOST_LINK, OUTSIDE4, POD4, Pod, Topology},
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{
    bpf::{
        attach::{Attached, Attacher},
        counter::Counter,
        insn,
        program::Program,
    },
    load::frame::{Mac, Path},
};

/// The tap's name in every pod.
pub(super) const TAP: &str = "tap0";

/// The tap's queueing discipline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qdisc {
    /// What the kernel gives a new link: `net.core.default_qdisc`.
    Default,
    /// None: frames go from the caller straight into the tap's ring.
    Noqueue,
}

/// A program that counts and drops.
#[derive(Debug)]
pub(super) struct Sink {
    /// Frames that came so far.
    pub(super) counter: Counter,
    _attached: Attached,
}

/// Where frames to the guest end.
#[derive(Debug)]
pub(super) enum ToVmEnd {
    /// In the tap's ring; a thread on another CPU empties it.
    Ring,
    /// In a sink before the tap.
    Sink(Sink),
}

/// A variant, wired. Dropping it removes its namespaces and all in them.
#[derive(Debug)]
pub(super) struct Scene {
    /// The guest's end of the tap, not blocking: as vhost, QEMU and Firecracker have it. The kernel builds frames of a
    /// blocking writer in another, dearer way (`tun_can_build_skb`, drivers/net/tun.c).
    pub(super) tap: Tap,
    /// Counts what the guest sends: at the host peer's ingress, for the floor at the tap's.
    pub(super) from_vm: Sink,
    /// What the node sends.
    pub(super) to_vm: ToVmEnd,
    /// The guest's: in every variant the one that the CNI gave the pod.
    pub(super) guest_mac: Mac,
    /// The host peer's.
    pub(super) host_mac: Mac,
    /// Keeps attached what the bench attached.
    pub(super) _held: Vec<Attached>,
    /// The programs that forward, if BPF does: on the tap's ingress and on the pod link's.
    pub(super) programs: Programs,
    /// Node and pod. After the tap and the links, so that it is dropped after them.
    pub(super) topology: Topology,
}

/// The programs of a variant whose run time is of interest.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// On the tap's ingress.
    pub(super) from_vm: Option<Program>,
    /// On the pod link's ingress.
    pub(super) to_vm: Option<Program>,
}

/// A node and a pod as every variant finds them: the CNI plugin `ptp`.
pub(super) fn pod() -> Result<Topology> {
    Pod::default().build()
}

/// Makes the tap as Kata does: vnet header, one queue, the pod link's MTU, up.
pub(super) fn make_tap(topology: &Topology, qdisc: Qdisc) -> Result<()> {
    let pod = &topology.pod;
    pod.ip(&format!("tuntap add dev {TAP} mode tap vnet_hdr"))?;
    pod.ip(&format!("link set {TAP} mtu {}", topology.spec.mtu))?;
    if qdisc == Qdisc::Noqueue {
        // Before it is up: the kernel gives its default when a link comes up.
        pod.exec_ok(&["tc", "qdisc", "add", "dev", TAP, "root", "noqueue"])?;
    }
    pod.ip(&format!("link set {TAP} up"))?;
    Ok(())
}

/// Opens the tap as the VMM does.
pub(super) fn open_tap(topology: &Topology) -> Result<Tap> {
    let tap = Tap::open(&topology.pod, TAP, TapSpec::default())?;
    fcntl(tap.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .context("cannot make the tap's descriptor non-blocking")?;
    Ok(tap)
}

impl Sink {
    /// At the host peer's ingress: past the pod, before anything of the node.
    pub(super) fn at_host_peer(attacher: &Attacher, topology: &Topology) -> Result<Self> {
        let (counter, program) = Self::program()?;
        let attached = attacher.ingress(&topology.node, HOST_LINK, &program)?;
        Ok(Self { counter, _attached: attached })
    }

    /// At the ingress of a link of the pod.
    pub(super) fn in_pod(attacher: &Attacher, topology: &Topology, link: &str) -> Result<Self> {
        let (counter, program) = Self::program()?;
        let attached = attacher.ingress(&topology.pod, link, &program)?;
        Ok(Self { counter, _attached: attached })
    }

    fn program() -> Result<(Counter, Program)> {
        let counter = Counter::new()?;
        let program = Program::load("bench_sink", &insn::count_and_drop(counter.descriptor()))?;
        Ok((counter, program))
    }
}

impl Scene {
    /// From the guest to its gateway.
    pub(super) fn guest_to_gateway(&self) -> Path {
        Path {
            source_mac: self.guest_mac,
            destination_mac: self.host_mac,
            source: POD4,
            destination: GATEWAY4,
        }
    }

    /// The same with a source address that is not the guest's.
    pub(super) fn spoofed(&self) -> Path {
        Path { source: OUTSIDE4, ..self.guest_to_gateway() }
    }

    /// From the gateway to the guest.
    pub(super) fn gateway_to_guest(&self) -> Path {
        Path {
            source_mac: self.host_mac,
            destination_mac: self.guest_mac,
            source: GATEWAY4,
            destination: POD4,
        }
    }
}

/// The MAC address that `ip` spells.
pub(super) fn mac(spelled: &str) -> Result<Mac> {
    let bytes: Option<Vec<u8>> = spelled.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| anyhow!("`{spelled}` is no MAC address"))
}
