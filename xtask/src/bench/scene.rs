// SPDX-License-Identifier: MIT OR Apache-2.0
//! One variant standing ready: a pod that is wired; for single packets also its tap, held open as a VMM holds it, and where
//! its frames are counted.

use anyhow::{Result, anyhow, bail};
use netagent_tests::{
    netns::Netns,
    tap::{Tap, TapSpec},
    topology::{GATEWAY4, HOST_LINK, OUTSIDE4, POD_LINK, POD4, Pod, Topology},
};

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

/// Where a guest is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plug {
    /// The tap in the pod.
    PodTap,
    /// The tap in the node.
    NodeTap,
    /// The macvtap whose link has this index.
    Macvtap(u32),
    /// Nowhere: the pod's own processes are in its place.
    None,
}

/// A pod wired in one way; nobody has opened its tap. Dropping it removes its namespaces and all in them.
#[derive(Debug)]
pub(super) struct Wired {
    /// The programs that forward, if BPF does: on the tap's ingress and on the pod link's.
    pub(super) programs: Programs,
    /// Keeps attached what the bench attached.
    pub(super) _held: Vec<Attached>,
    /// Where the guest belongs.
    pub(super) plug: Plug,
    /// The guest's: in every variant the one that the CNI gave the pod.
    pub(super) guest_mac: Mac,
    /// The host peer's.
    pub(super) host_mac: Mac,
    /// Node and pod. After the links, so that it is dropped after them.
    pub(super) topology: Topology,
}

/// A variant with the bench at both ends of its path.
#[derive(Debug)]
pub(super) struct Scene {
    /// The guest's end of the tap, not blocking.
    pub(super) tap: Tap,
    /// Counts what the guest sends: at the host peer's ingress, for the floor at the tap's.
    pub(super) from_vm: Sink,
    /// What the node sends.
    pub(super) to_vm: ToVmEnd,
    /// What is between the ends. Last, so that it is dropped after the tap and the sinks.
    pub(super) wired: Wired,
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
pub(super) fn make_tap(netns: &Netns, mtu: u32, qdisc: Qdisc) -> Result<()> {
    netns.ip(&format!("tuntap add dev {TAP} mode tap vnet_hdr"))?;
    netns.ip(&format!("link set {TAP} mtu {mtu}"))?;
    if qdisc == Qdisc::Noqueue {
        // Before it is up: the kernel gives its default when a link comes up.
        netns.exec_ok(&["tc", "qdisc", "add", "dev", TAP, "root", "noqueue"])?;
    }
    netns.ip(&format!("link set {TAP} up"))?;
    Ok(())
}

impl Sink {
    /// At the ingress of a link.
    pub(super) fn at(attacher: &Attacher, netns: &Netns, link: &str) -> Result<Self> {
        let counter = Counter::new()?;
        let program = Program::load("bench_sink", &insn::count_and_drop(counter.descriptor()))?;
        let attached = attacher.ingress(netns, link, &program)?;
        Ok(Self { counter, _attached: attached })
    }
}

impl Wired {
    /// Of a pod: nothing of BPF in it, the tap where it usually is.
    pub(super) fn plain(topology: Topology) -> Result<Self> {
        Ok(Self {
            programs: Programs::default(),
            _held: Vec::new(),
            plug: Plug::PodTap,
            guest_mac: mac(&topology.pod_mac()?)?,
            host_mac: mac(&topology.host_mac()?)?,
            topology,
        })
    }

    /// Opens the guest's end of the tap as a VMM does.
    pub(super) fn open(&self) -> Result<Tap> {
        let Topology { node, pod, .. } = &self.topology;
        let tap = match self.plug {
            Plug::PodTap => Tap::open(pod, TAP, TapSpec::default())?,
            Plug::NodeTap => Tap::open(node, TAP, TapSpec::default())?,
            Plug::Macvtap(index) => Tap::open_macvtap(index, TapSpec::default())?,
            Plug::None => bail!("there is no tap"),
        };
        tap.never_block()?;
        Ok(tap)
    }
}

impl Scene {
    /// Opens the tap, and counts what comes to the host peer: past the pod, before anything of the node. The sink last:
    /// nothing of the set-up may be taken for load, or be dropped by it.
    pub(super) fn of(attacher: &Attacher, wired: Wired) -> Result<Self> {
        Ok(Self {
            tap: wired.open()?,
            from_vm: Sink::at(attacher, &wired.topology.node, HOST_LINK)?,
            to_vm: ToVmEnd::Ring,
            wired,
        })
    }

    /// Both directions end in a sink at their first hook.
    pub(super) fn floor(attacher: &Attacher, wired: Wired) -> Result<Self> {
        Ok(Self {
            tap: wired.open()?,
            from_vm: Sink::at(attacher, &wired.topology.pod, TAP)?,
            to_vm: ToVmEnd::Sink(Sink::at(attacher, &wired.topology.pod, POD_LINK)?),
            wired,
        })
    }

    /// From the guest to its gateway.
    pub(super) fn guest_to_gateway(&self) -> Path {
        Path {
            source_mac: self.wired.guest_mac,
            destination_mac: self.wired.host_mac,
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
            source_mac: self.wired.host_mac,
            destination_mac: self.wired.guest_mac,
            source: GATEWAY4,
            destination: POD4,
        }
    }
}

/// A MAC address as `ip` takes it.
pub(super) fn spelled(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The MAC address that `ip` spells.
pub(super) fn mac(spelled: &str) -> Result<Mac> {
    let bytes: Option<Vec<u8>> = spelled.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| anyhow!("`{spelled}` is no MAC address"))
}
