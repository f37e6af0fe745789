// SPDX-License-Identifier: MIT OR Apache-2.0
//! udhcpc: driven by signals; it keeps no lease and configures nothing itself, which `guest/lease.sh` does.

use std::process::Command;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Ask, System};
use crate::{lease::Lease, process::Process, stand_in::GUEST_LINK};

const LEASES: &str = "run/leases";

pub(super) fn cannot(ask: Ask) -> Option<&'static str> {
    match ask {
        Ask::Rebind => Some("it rebinds when renewing failed, by its own timers"),
        Ask::Confirm => Some("it keeps no lease across restarts and does not watch the carrier"),
        Ask::Renew | Ask::Release => None,
    }
}

/// For IPv6 alone nothing runs: that is the kernel's.
pub(super) fn start(system: &System) -> Result<Vec<Process>> {
    if !system.families().ipv4 {
        return Ok(Vec::new());
    }
    let mut command: Command = system.command("udhcpc");
    command.args(["-f", "-i", GUEST_LINK, "-t", "20", "-T", "1", "-s", "/etc/lease.sh"]);
    for option in ["search", "mtu", "staticroutes", "58", "59"] {
        command.args(["-O", option]);
    }
    command.env("LEASE_OUT", "/run/leases").env("RESOLV_CONF", "/etc/resolv.conf");
    Ok(vec![system.spawn(command)?])
}

pub(super) fn ask(system: &mut System, ask: Ask) -> Result<()> {
    match ask {
        Ask::Release => system.signal(Signal::SIGUSR2),
        _ => system.signal(Signal::SIGUSR1),
    }
}

pub(super) fn host_name(system: &System) -> Result<Option<String>> {
    if !system.path(LEASES).exists() {
        return Ok(None);
    }
    let text = system.read(LEASES)?;
    let last = text.lines().filter_map(Lease::from_line).next_back().transpose()?;
    Ok(last.and_then(|lease| lease.hostname))
}
