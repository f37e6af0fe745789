// SPDX-License-Identifier: MIT OR Apache-2.0
//! What people read.

use std::path::Path;

use anyhow::Result;

use super::{
    args::Output,
    table::{columns, fields},
};
use crate::{api::v1, config::Config};

/// All ports, a line each.
pub(super) fn ports(ports: &[v1::Port], output: Output) -> Result<()> {
    output.print(&ports, || {
        if ports.is_empty() {
            return "no ports; wire one with `netagent attach --netns PATH`".to_owned();
        }
        let rows: Vec<_> = ports
            .iter()
            .map(|port| {
                let guest = port.guest.clone().unwrap_or_default();
                let datapath = port.datapath.clone().unwrap_or_default();
                let counters = port.counters.clone().unwrap_or_default();
                [
                    port.id.clone(),
                    port.state.clone(),
                    port.netns.clone(),
                    port.tap.clone().unwrap_or_default().ifname,
                    guest.addresses.first().cloned().unwrap_or_default(),
                    datapath.tier,
                    datapath.hook,
                    packets(counters.from_vm.as_ref()),
                    packets(counters.to_vm.as_ref()),
                    counters.drops.values().sum::<u64>().to_string(),
                ]
            })
            .collect();
        let header =
            ["PORT", "STATE", "NETNS", "TAP", "ADDRESS", "TIER", "HOOK", "FROM-VM", "TO-VM", "DROPS"];
        let mut text = columns(header, &rows);
        for port in ports.iter().filter(|p| !p.reason.is_empty()) {
            text.push_str(&format!("\n{}: {}\n", port.id, port.reason));
        }
        text
    })
}

/// One port, whole.
pub(super) fn port(port: &v1::Port, output: Output) -> Result<()> {
    output.print(port, || fields(&port_fields(port)))
}

fn port_fields(port: &v1::Port) -> Vec<(&'static str, String)> {
    let link = port.pod_link.clone().unwrap_or_default();
    let tap = port.tap.clone().unwrap_or_default();
    let guest = port.guest.clone().unwrap_or_default();
    let dns = guest.dns.clone().unwrap_or_default();
    let datapath = port.datapath.clone().unwrap_or_default();
    let counters = port.counters.clone().unwrap_or_default();
    let dhcp = port.dhcp.clone().unwrap_or_default();
    let origin = port.origin.clone().unwrap_or_default();
    let pod = match (origin.pod_namespace.as_str(), origin.pod_name.as_str()) {
        ("", name) => name.to_owned(),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    let routes = guest.routes.iter().map(|r| match r.gateway.as_str() {
        "" => format!("{} on the link", r.destination),
        gateway => format!("{} via {gateway}", r.destination),
    });
    let with = |first: String, rest: &str, extra: String| {
        if extra.is_empty() || first.is_empty() { first } else { format!("{first}{rest}{extra}") }
    };
    vec![
        ("port", port.id.clone()),
        ("state", with(format!("{} for {}", port.state, age(port.state_seconds)), ": ", port.reason.clone())),
        ("pod", with(pod, ", uid ", origin.pod_uid.clone())),
        ("asked by", with(origin.source.clone(), ", sandbox ", origin.sandbox.clone())),
        ("netns", port.netns.clone()),
        ("pod link", device(&link.ifname, link.ifindex, &format!("mac {}, mtu {}", link.mac, link.mtu))),
        (
            "tap",
            device(
                &tap.ifname,
                tap.ifindex,
                &format!("mtu {}, queues {}, owner {}", tap.mtu, tap.queues, tap.owner),
            ),
        ),
        ("datapath", with(datapath.tier, " on ", format!("{} ({})", datapath.hook, datapath.reason))),
        ("mode", port.mode.clone()),
        ("warnings", datapath.warnings.join("\n")),
        ("guard", guard(&port.guard.clone().unwrap_or_default())),
        ("guest mac", guest.mac),
        ("addresses", guest.addresses.join("\n")),
        ("routes", routes.collect::<Vec<_>>().join("\n")),
        ("dns", dns.servers.join(", ")),
        ("search", dns.search.join(", ")),
        ("domain", guest.domain),
        ("hostname", guest.hostname),
        ("guest mtu", if guest.mtu == link.mtu { String::new() } else { guest.mtu.to_string() }),
        ("ntp", guest.ntp.join(", ")),
        ("tftp server", guest.tftp_server),
        ("boot file", guest.boot_file),
        (
            "options",
            guest.private_options.iter().map(|(c, v)| format!("{c} {v}")).collect::<Vec<_>>().join("\n"),
        ),
        ("lease", dhcp.lease),
        ("last message", dhcp.last),
        ("messages", dhcp.messages.iter().map(|(m, n)| format!("{n} {m}")).collect::<Vec<_>>().join("\n")),
        ("from vm", count(counters.from_vm.as_ref())),
        ("to vm", count(counters.to_vm.as_ref())),
        ("punted", count(counters.punted.as_ref())),
        ("drops", counters.drops.iter().map(|(r, n)| format!("{n} {r}")).collect::<Vec<_>>().join("\n")),
    ]
}

/// What the guard lets pass besides; empty when it holds every rule.
fn guard(guard: &v1::Guard) -> String {
    let line =
        |what: &str, list: Vec<String>| (!list.is_empty()).then(|| format!("{what} {}", list.join(", ")));
    let vlans = guard.allowed_vlans.iter().map(u32::to_string).collect();
    [
        line("off:", guard.off.clone()),
        line("prefixes", guard.allowed_prefixes.clone()),
        line("vlans", vlans),
        line("ethertypes", guard.allowed_ethertypes.clone()),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("\n")
}

/// The steps of a plan.
pub(super) fn plan(plan: &v1::PlanReply, output: Output) -> Result<()> {
    output.print(plan, || match plan.steps.as_slice() {
        [] => format!("{}: nothing to do", plan.id),
        steps => steps.iter().enumerate().map(|(n, step)| format!("{:>2}. {step}\n", n + 1)).collect(),
    })
}

/// The ports that were taken off.
pub(super) fn detached(reply: &v1::DetachReply, output: Output) -> Result<()> {
    output.print(reply, || match reply.detached.as_slice() {
        [] => "nothing to detach".to_owned(),
        ids => format!("detached {}", ids.join(", ")),
    })
}

/// Where the CNI plugin is now.
pub(super) fn installed(path: &Path, output: Output) -> Result<()> {
    let installed = serde_json::json!({ "installed": path });
    output.print(&installed, || format!("installed {}", path.display()))
}

/// A configuration, as the file that it could be.
pub(super) fn config(config: &Config, output: Output) -> Result<()> {
    output.print(&config.to_table(), || config.to_toml())
}

fn device(ifname: &str, ifindex: u32, rest: &str) -> String {
    if ifindex == 0 { ifname.to_owned() } else { format!("{ifname} (index {ifindex}, {rest})") }
}

/// As kubectl shows ages: the largest unit that fills.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

fn packets(count: Option<&v1::Count>) -> String {
    count.map_or(0, |c| c.packets).to_string()
}

fn count(count: Option<&v1::Count>) -> String {
    count.map_or_else(String::new, |c| format!("{} packets, {} bytes", c.packets, c.bytes))
}
