// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator lays over what the pod itself says, in what the guest is told.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Overrides and additions for one port's hand-off. What is empty or absent leaves the pod's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandOff {
    /// Nothing is handed off: the guest brings its own configuration, or asks the DHCP servers and routers of the
    /// network behind the pod link.
    pub off: bool,
    /// Name servers of both families in place of the pod's.
    pub dns: Vec<IpAddr>,
    /// Search list in place of the pod's.
    pub search: Vec<String>,
    /// Domain name (DHCPv4 option 15); the longest usable search domain when not given.
    pub domain: Option<String>,
    /// NTP servers (DHCPv4 option 42, DHCPv6 option 56).
    pub ntp: Vec<IpAddr>,
    /// MTU in bytes that the guest is told: the pod link's or less.
    pub mtu: Option<u32>,
    /// TFTP server name (DHCPv4 option 66).
    pub tftp_server: Option<String>,
    /// Boot file name (DHCPv4 option 67).
    pub boot_file: Option<String>,
    /// DHCPv4 options for private use, 224 to 254 (RFC 3942), as bytes.
    pub private_options: BTreeMap<u8, Vec<u8>>,
    /// How long leases last, in seconds; the agent's `lease_seconds` when not given.
    pub lease_seconds: Option<u32>,
}
