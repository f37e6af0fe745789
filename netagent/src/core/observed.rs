// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel, the pins and our own tasks say about a port. Nothing here is remembered, all of it is read.

use netagent_common::maps;

use super::{guest::Guest, program::Program, self_test::SelfTest, spec::owner_text, tier::Hook};

/// One port as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The device that has the tap's name.
    pub tap: ObservedTap,
    /// The port's entry and the slot it is in.
    pub entry: Option<(u32, maps::Port)>,
    /// The slot that the port has, or would get; `None` when all are taken.
    pub slot: Option<u32>,
    /// `from_vm` on the tap.
    pub from_vm: ObservedProgram,
    /// `from_pod` on the pod link.
    pub from_pod: ObservedProgram,
    /// `to_vm` on the pod link.
    pub to_vm: ObservedProgram,
    /// `xdp_from_vm` on the tap.
    pub xdp_from_vm: ObservedProgram,
    /// `xdp_to_vm` on the pod link.
    pub xdp_to_vm: ObservedProgram,
    /// Where the XDP programs of the slot send to.
    pub targets: Targets,
    /// The clsact qdisc of the pod link.
    pub clsact: Clsact,
    /// What the hand-off serves for this port.
    pub serving: Option<Guest>,
}

impl Observed {
    /// What the self-test of these two devices came to. A device that was made anew is another path.
    pub fn self_test(&self, pod_ifindex: u32) -> SelfTest {
        match (&self.entry, &self.tap) {
            (Some((_, entry)), ObservedTap::Ours(tap))
                if (entry.tap_ifindex, entry.pod_ifindex) == (tap.ifindex, pod_ifindex) =>
            {
                SelfTest::from_flags(entry.flags)
            }
            _ => SelfTest::NotMade,
        }
    }

    /// The program's state.
    pub fn program(&self, program: Program) -> ObservedProgram {
        match program {
            Program::FromVm => self.from_vm,
            Program::FromPod => self.from_pod,
            Program::ToVm => self.to_vm,
            Program::XdpFromVm => self.xdp_from_vm,
            Program::XdpToVm => self.xdp_to_vm,
        }
    }
}

/// A place that the XDP programs of a slot send to: an entry of a devmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The pod link, for what the guest sends.
    PodLink,
    /// The tap, for what is sent to the guest.
    Tap,
}

impl Target {
    /// Both.
    pub const ALL: [Self; 2] = [Self::PodLink, Self::Tap];
}

/// The devices in a slot's places, by index in the port's namespace. The kernel empties a place when its device goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// In the place of [`Target::PodLink`].
    pub pod_link: Option<u32>,
    /// In the place of [`Target::Tap`].
    pub tap: Option<u32>,
}

impl Targets {
    /// The device in one place.
    pub fn get(self, target: Target) -> Option<u32> {
        match target {
            Target::PodLink => self.pod_link,
            Target::Tap => self.tap,
        }
    }
}

/// The device that has the tap's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ObservedTap {
    /// There is none.
    #[default]
    Absent,
    /// Somebody else's; what it is, in words.
    Foreign(String),
    /// Made by us for this port.
    Ours(Tap),
    /// Somebody else's, in one bridge with the pod link.
    Bridged(Tap),
}

/// A tap's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Its index.
    pub ifindex: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// `IFF_MULTI_QUEUE`.
    pub multi_queue: bool,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Its root qdisc is noqueue.
    pub noqueue: bool,
    /// `IFF_UP`.
    pub up: bool,
}

impl Tap {
    /// `UID:GID`, with `-` for one that is not set.
    pub fn owner_text(&self) -> String {
        owner_text(self.uid, self.gid)
    }
}

/// One of the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObservedProgram {
    /// Neither attached nor pinned.
    #[default]
    Absent,
    /// A pin is there, but the device that it was attached to is gone.
    Severed,
    /// Attached.
    Attached {
        /// Where.
        hook: Hook,
        /// Whether it is the program of this agent; else that of another version.
        current: bool,
    },
}

/// The clsact qdisc of the pod link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clsact {
    /// There is none.
    #[default]
    Absent,
    /// It is there, and holds no filter but ours.
    Ours,
    /// It is there, and holds somebody else's filters.
    Shared,
    /// In its place is an ingress qdisc, which has no egress.
    IngressOnly,
}
