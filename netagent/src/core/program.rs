// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs, by name.

use std::fmt;

/// The programs of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// On the tap's ingress: what the guest sends.
    FromVm,
    /// On the pod link's egress: what leaves the pod.
    FromPod,
    /// On the pod link's ingress: what is sent to the guest.
    ToVm,
    /// On the tap before its ingress, tier `xdp` only: forwards or drops what needs no skb.
    XdpFromVm,
    /// On the pod link before its ingress, tier `xdp` only: forwards or drops what needs no skb.
    XdpToVm,
}

/// The side of a device that a program is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What comes in through the device.
    Ingress,
    /// What goes out through it.
    Egress,
}

impl Program {
    /// All, in the order in which they are attached: the pod's stack falls silent before the guest can be heard, and
    /// what XDP passes on finds its program.
    pub const ALL: [Self; 5] = [Self::FromVm, Self::FromPod, Self::ToVm, Self::XdpFromVm, Self::XdpToVm];

    /// Its symbol in the eBPF object, which is also its name in the kernel.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::FromVm => "from_vm",
            Self::FromPod => "from_pod",
            Self::ToVm => "to_vm",
            Self::XdpFromVm => "xdp_from_vm",
            Self::XdpToVm => "xdp_to_vm",
        }
    }

    /// The side of its device that it is on.
    pub fn side(self) -> Side {
        match self {
            Self::FromVm | Self::ToVm | Self::XdpFromVm | Self::XdpToVm => Side::Ingress,
            Self::FromPod => Side::Egress,
        }
    }

    /// Whether it is an XDP program, which sees frames before they are skbs; else it is a tc program.
    pub fn is_xdp(self) -> bool {
        matches!(self, Self::XdpFromVm | Self::XdpToVm)
    }

    /// Whether it is on the tap, else on the pod link.
    pub fn is_on_tap(self) -> bool {
        matches!(self, Self::FromVm | Self::XdpFromVm)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.symbol())
    }
}
