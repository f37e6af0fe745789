// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real DHCP clients as distributions run them, each in a stand-in guest with files of its own.

mod dhclient;
mod dhcpcd;
mod networkd;
mod system;
mod udhcpc;

use std::fmt;

pub use self::system::System;
use crate::require::Need;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// Busybox's for IPv4. For IPv6 there is the guest's kernel alone, which takes router advertisements.
    Udhcpc,
    /// ISC's with Debian's script: one process for each family, and the kernel for router advertisements.
    Dhclient,
    /// Roy Marples': both families and router advertisements in one process.
    Dhcpcd,
    /// systemd's: both families and router advertisements in one process.
    Networkd,
}

/// What a running client can be made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To renew its lease with the server it has it from.
    Renew,
    /// To renew its lease with any server.
    Rebind,
    /// To give its lease back.
    Release,
    /// To find out whether its lease still holds on the link it is on.
    Confirm,
}

/// Which families the guest is to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// DHCPv4.
    pub ipv4: bool,
    /// DHCPv6 and router advertisements.
    pub ipv6: bool,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Udhcpc, Self::Dhclient, Self::Dhcpcd, Self::Networkd];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udhcpc => "udhcpc",
            Self::Dhclient => "dhclient",
            Self::Dhcpcd => "dhcpcd",
            Self::Networkd => "systemd-networkd",
        }
    }

    /// What it needs of the machine.
    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Udhcpc => &[Need::Program("udhcpc", "udhcpc")],
            Self::Dhclient => &[Need::Program("dhclient", "isc-dhcp-client")],
            Self::Dhcpcd => &[Need::Program("dhcpcd", "dhcpcd-base")],
            Self::Networkd => {
                &[Need::File(networkd::PROGRAM, "systemd"), Need::Program("dbus-daemon", "dbus-daemon")]
            }
        }
    }

    /// Whether it gets an IPv6 address of its own accord: by DHCPv6, for there is no prefix to make one from.
    pub fn speaks_dhcpv6(self) -> bool {
        self != Self::Udhcpc
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
