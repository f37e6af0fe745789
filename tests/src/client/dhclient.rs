// SPDX-License-Identifier: MIT OR Apache-2.0
//! ISC dhclient with Debian's script and configuration: a process for each family; starting it again is all one can ask.

use std::process::Command;

use anyhow::Result;

use super::{Ask, System};
use crate::{process::Process, stand_in::GUEST_LINK};

pub(super) fn cannot(ask: Ask) -> Option<&'static str> {
    match ask {
        Ask::Renew | Ask::Rebind => Some("it renews and rebinds by its own timers alone"),
        Ask::Confirm => Some("it does not watch the carrier; starting again is how it asks"),
        Ask::Release => None,
    }
}

/// What the package installs has all it needs.
pub(super) fn configure(_: &System) -> Result<()> {
    Ok(())
}

pub(super) fn start(system: &System) -> Result<Vec<Process>> {
    families(system).into_iter().map(|family| system.spawn(command(system, family, &["-d"]))).collect()
}

pub(super) fn ask(system: &mut System, _: Ask) -> Result<()> {
    for family in families(system) {
        // Tells the other one by its process id to end, and releases in its place.
        let command = command(system, family, &["-r"]);
        system.run(command)?;
    }
    system.wait_end()
}

fn families(system: &System) -> Vec<&'static str> {
    let families = system.families();
    [(families.ipv4, "-4"), (families.ipv6, "-6")]
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
        .collect()
}

fn command(system: &System, family: &str, arguments: &[&str]) -> Command {
    let mut command = system.command("dhclient");
    command.args(arguments).arg(family);
    command.arg("-lf").arg(format!("/var/lib/dhcp/dhclient{family}.leases"));
    command.arg("-pf").arg(format!("/run/dhclient{family}.pid"));
    command.arg(GUEST_LINK);
    command
}
