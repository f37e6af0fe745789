// SPDX-License-Identifier: MIT OR Apache-2.0
//! systemd-networkd: one process for all, asked over a bus of the guest's own; what it learned is in `/run/systemd/netif`.

use std::{fs, os::unix::fs::chown, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use nix::unistd::User;

use super::{Ask, System};
use crate::{poll, process::Process, resolver::Resolver, stand_in::GUEST_LINK};

/// Not on `PATH`: systemd starts it.
pub(super) const PROGRAM: &str = "/lib/systemd/systemd-networkd";
const USER: &str = "systemd-network";
const BUS_TIMEOUT: Duration = Duration::from_secs(30);
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

pub(super) fn cannot(ask: Ask) -> Option<&'static str> {
    match ask {
        Ask::Rebind => Some("it rebinds at T2 alone"),
        Ask::Renew | Ask::Release | Ask::Confirm => None,
    }
}

pub(super) fn configure(system: &System) -> Result<()> {
    let families = system.families();
    let dhcp = match (families.ipv4, families.ipv6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, _) => "ipv6",
    };
    let accept_ra = if families.ipv6 { "yes" } else { "no" };
    let folder = system.path("etc/systemd/network");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    system.write("etc/bus.conf", BUS)?;
    // By default it ignores MTU and search domains.
    system.write(
        "etc/systemd/network/guest.network",
        &format!(
            "[Match]\nName={GUEST_LINK}\n\n[Network]\nDHCP={dhcp}\nIPv6AcceptRA={accept_ra}\n\n\
             [DHCPv4]\nUseMTU=yes\nUseDomains=yes\n\n[DHCPv6]\nUseDomains=yes\n\n[IPv6AcceptRA]\nUseDomains=yes\n"
        ),
    )
}

pub(super) fn start(system: &System) -> Result<Vec<Process>> {
    let user = User::from_name(USER).context("cannot look for users")?.context("no user systemd-network")?;
    for folder in
        ["run/systemd/netif/links", "run/systemd/netif/leases", "run/systemd/netif/lldp", "run/dbus"]
    {
        let path = system.path(folder);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    for folder in ["", "/links", "/leases", "/lldp"] {
        let path = system.path(&format!("run/systemd/netif{folder}"));
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .with_context(|| format!("cannot hand over {}", path.display()))?;
    }
    let socket = system.path("run/dbus/system_bus_socket");
    let mut command = system.command("dbus-daemon");
    command.args(["--config-file=/etc/bus.conf", "--nofork", "--nopidfile", "--nosyslog"]);
    let bus = system.spawn(command)?;
    poll::wait_until("the guest's bus", BUS_TIMEOUT, || socket.exists().then_some(()))?;
    let networkd = system.spawn(system.command(PROGRAM))?;
    Ok(vec![networkd, bus])
}

pub(super) fn ask(system: &mut System, ask: Ask) -> Result<()> {
    match ask {
        // It gives back what it has (`SendRelease`, on by default), and begins anew.
        Ask::Release => system.run(networkctl(system, "reconfigure")),
        Ask::Confirm => system.replug(),
        Ask::Renew | Ask::Rebind => system.run(networkctl(system, "renew")),
    }
}

fn networkctl(system: &System, verb: &str) -> Command {
    let mut command = system.command("networkctl");
    command.args([verb, GUEST_LINK]);
    command
}

/// There is no resolv.conf: systemd-resolved would read these lines.
pub(super) fn resolver(system: &System) -> Result<Resolver> {
    let values = |key: &str| -> Result<Vec<String>> {
        let text = files(system, "links")?;
        let values = text.lines().filter_map(|line| line.strip_prefix(key));
        Ok(values.flat_map(str::split_whitespace).map(str::to_owned).collect())
    };
    Ok(Resolver::new(values("DNS=")?.iter().filter_map(|server| server.parse().ok()), values("DOMAINS=")?))
}

/// Setting it is systemd-hostnamed's.
pub(super) fn host_name(system: &System) -> Result<Option<String>> {
    let text = files(system, "leases")?;
    Ok(text.lines().find_map(|line| line.strip_prefix("HOSTNAME=")).map(str::to_owned))
}

/// A file for each link.
fn files(system: &System, kind: &str) -> Result<String> {
    let folder = system.path(&format!("run/systemd/netif/{kind}"));
    let mut text = String::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.context("cannot list a folder")?.path();
        // It writes a new file and renames it, so one may be gone.
        text.push_str(&fs::read_to_string(&path).unwrap_or_default());
    }
    Ok(text)
}
