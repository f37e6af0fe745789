// SPDX-License-Identifier: MIT OR Apache-2.0
//! dhcpcd with Debian's configuration: one process for all, asked over its control socket.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Ask, System};
use crate::{process::Process, stand_in::GUEST_LINK};

/// As the package has it, but the host name as the server gives it, and no address that nobody gave.
const MORE: &str = "\nnoipv4ll\nenv hostname_fqdn=server\n";

pub(super) fn configure(system: &System) -> Result<()> {
    let text = std::fs::read_to_string("/etc/dhcpcd.conf").context("cannot read /etc/dhcpcd.conf")?;
    let families = system.families();
    let only = match (families.ipv4, families.ipv6) {
        (true, false) => "ipv4only\n",
        (false, true) => "ipv6only\n",
        _ => "",
    };
    system.write("etc/dhcpcd.conf", &format!("{text}{MORE}{only}"))
}

pub(super) fn start(system: &System) -> Result<Vec<Process>> {
    Ok(vec![system.spawn(command(system, "--nobackground"))?])
}

pub(super) fn ask(system: &mut System, ask: Ask) -> Result<()> {
    match ask {
        Ask::Renew => system.run(command(system, "--renew")),
        Ask::Rebind => system.run(command(system, "--rebind")),
        Ask::Release => {
            system.run(command(system, "--release"))?;
            system.wait_end()
        }
        Ask::Confirm => system.replug(),
    }
}

fn command(system: &System, verb: &str) -> Command {
    let mut command = system.command("dhcpcd");
    command.arg(verb).arg(GUEST_LINK);
    command
}
