// SPDX-License-Identifier: MIT OR Apache-2.0
//! ISC dhclient with Debian's script: a process for each family; starting it again is all one can ask.

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

const CONFIGURATION: &str = "etc/dhcp/dhclient.conf";
/// Below [`System::path`], where the guest has `/var/lib/dhcp/dhclient-4.leases`.
const LEASES4: &str = "lib/dhcp/dhclient-4.leases";
/// As the package has it, but asking again sooner: the shortest lease leaves eight seconds between T2 and its end, and by
/// default it waits for up to fifteen between two requests.
const MORE: &str = "\ninitial-interval 2;\nbackoff-cutoff 4;\n";

pub(super) fn configure(system: &System) -> Result<()> {
    let text = system.read(CONFIGURATION)?;
    system.write(CONFIGURATION, &format!("{text}{MORE}"))
}

/// It names no size, which stands for 576 bytes (RFC 2131, section 2).
pub(super) fn take_whole_frames(system: &System) -> Result<()> {
    let text = system.read(CONFIGURATION)?;
    system.write(CONFIGURATION, &format!("{text}send dhcp-max-message-size 1500;\n"))
}

/// All leases that it has had.
pub(super) fn leases(system: &System) -> Result<String> {
    system.read(LEASES4)
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
