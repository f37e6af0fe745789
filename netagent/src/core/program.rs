// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two programs, by name.

use std::fmt;

/// The two programs of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// On the tap's ingress: what the guest sends.
    FromVm,
    /// On the pod link's ingress: what is sent to the guest.
    ToVm,
}

impl Program {
    /// Both, in the order in which they are attached.
    pub const ALL: [Self; 2] = [Self::FromVm, Self::ToVm];

    /// Its symbol in the eBPF object, which is also its name in the kernel.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::FromVm => "from_vm",
            Self::ToVm => "to_vm",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.symbol())
    }
}
