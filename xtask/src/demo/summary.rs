// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the demo on one screen: boxes of aligned rows.

use netagent_tests::lease::Lease;
use serde_json::Value;

use super::{
    kill::packets,
    netagent::{Netagent, text as word},
    story::Told,
    traffic::{ping_words, rate},
};

/// Characters inside a box, between its borders.
const WIDTH: usize = 86;
/// Where values begin.
const INDENT: usize = 20;

/// A box with a title.
struct Section {
    title: String,
    rows: Vec<(String, String)>,
}

/// Everything worth knowing, ending with a line break.
pub(super) fn text(netagent: &Netagent, bridge: Option<&Told>) -> String {
    let mut sections = vec![
        guest(&netagent.told),
        datapath(netagent),
        traffic(&netagent.told),
        killed(netagent),
        kernel(netagent),
    ];
    sections.extend(bridge.map(|bridge| comparison(&netagent.told, bridge)));
    sections.iter().map(Section::render).collect()
}

impl Section {
    fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    fn row(&mut self, name: &str, value: impl Into<String>) {
        self.rows.push((name.to_owned(), value.into()));
    }

    /// A row that is left out when there is nothing to say.
    fn optional(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.row(name, value);
        }
    }

    fn render(&self) -> String {
        let mut text = format!(
            "┌─ {} {}┐\n",
            self.title,
            "─".repeat(WIDTH.saturating_sub(self.title.chars().count() + 3))
        );
        for (name, value) in &self.rows {
            for (index, line) in wrap(value, WIDTH - INDENT - 2).iter().enumerate() {
                let name = if index == 0 { name.as_str() } else { "" };
                let content = format!(" {name:<width$}{line}", width = INDENT - 1);
                text.push_str(&format!("│{content:<WIDTH$}│\n"));
            }
        }
        text.push_str(&format!("└{}┘\n", "─".repeat(WIDTH)));
        text
    }
}

fn guest(told: &Told) -> Section {
    let booted = &told.booted;
    let Lease { client, address, prefix, routers, dns, search, domain, hostname, mtu, routes, .. } =
        &booted.lease;
    let mut section = Section::new(format!("The guest's lease, as its {client} saw it"));
    section.row("address", format!("{address}/{prefix} for {}", booted.mac));
    section.optional("router", (!routers.is_empty()).then(|| join(routers)));
    for (index, route) in routes.iter().enumerate() {
        section.row(if index == 0 { "routes" } else { "" }, route.to_string());
    }
    section.optional("DNS", (!dns.is_empty()).then(|| join(dns)));
    section.optional("search", Some(search.join(", ")));
    section.optional("domain", domain.clone());
    section.optional("hostname", hostname.clone());
    section.optional("MTU", mtu.map(|mtu| mtu.to_string()));
    section.optional("lease", booted.lease.lease_seconds.map(|lease| times(lease, &booted.lease)));
    section.optional("server", booted.lease.server.map(|server| server.to_string()));
    section.row("after", format!("{:.1} s from QEMU's start", booted.lease_after.as_secs_f64()));
    section.row("kernel", format!("Linux {} under {}", booted.kernel, booted.accel));
    section
}

fn times(lease: u32, all: &Lease) -> String {
    let part = |name: &str, value: Option<u32>| {
        value.map_or_else(String::new, |v| format!(", {name} {}", duration(v)))
    };
    format!(
        "{}{}{}",
        duration(lease),
        part("renew after", all.renew_seconds),
        part("rebind after", all.rebind_seconds)
    )
}

fn duration(seconds: u32) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (hours, 0, 0) => format!("{hours} h"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02} h"),
    }
}

fn datapath(netagent: &Netagent) -> Section {
    let port = &netagent.port;
    let mut section = Section::new("The port");
    section.optional("id", word(port, "/id").map(str::to_owned));
    section.row("way", "node · vethpod ═══ eth0 · eBPF · tap0 ═══ eth0 · guest");
    section.optional("tier", word(port, "/datapath/tier").map(|tier| with_reason(tier, port)));
    section.optional("hook", word(port, "/datapath/hook").map(str::to_owned));
    section
}

fn with_reason(tier: &str, port: &Value) -> String {
    match word(port, "/datapath/reason") {
        Some(reason) if !reason.is_empty() => format!("{tier}: {reason}"),
        _ => tier.to_owned(),
    }
}

fn traffic(told: &Told) -> Section {
    let traffic = &told.traffic;
    let retransmits = |report: &netagent_tests::iperf::Report| {
        report.retransmits().map_or_else(String::new, |count| format!(", {count} retransmits"))
    };
    let mut section = Section::new("Traffic");
    section.row("ping", format!("node → guest  {}", ping_words(&traffic.ping_to_guest)));
    section.row("", format!("guest → node  {}", ping_words(&traffic.ping_from_guest)));
    let (to, from) = (&traffic.tcp_to_guest, &traffic.tcp_from_guest);
    section.row("TCP, iperf3", format!("node → guest  {}{}", rate(to), retransmits(to)));
    section.row("", format!("guest → node  {}{}", rate(from), retransmits(from)));
    section
}

fn killed(netagent: &Netagent) -> Section {
    let killed = &netagent.killed;
    let counted = killed.counted;
    let mut section = Section::new("kill -9 of the agent under traffic");
    section.row(
        "UDP round trips",
        format!(
            "{} sent, {} came back, {} lost, {} twice",
            counted.sent, counted.received, counted.lost, counted.duplicated
        ),
    );
    section.row(
        "TCP at 100 Mbit/s",
        format!(
            "{} over all, slowest second {:.0} Mbit/s, {} retransmits",
            rate(&killed.tcp),
            killed.tcp.slowest_interval() / 1e6,
            killed.tcp.retransmits().unwrap_or_default()
        ),
    );
    section.row("agent", format!("away for {:.1} s, then the port was adopted", killed.away.as_secs_f64()));
    for (name, way) in [("packets from VM", "from_vm"), ("packets to VM", "to_vm")] {
        if let Some((before, after)) = packets(&killed.before, way).zip(packets(&killed.after, way)) {
            section.row(name, format!("{before} before the kill, {after} now"));
        }
    }
    section.optional("drops", Some(drops(&killed.after)));
    section
}

/// As in `dhcp 4, foreign_mac 1`; reasons that were never seen are left out.
fn drops(port: &Value) -> String {
    let listed = port.pointer("/counters/drops").and_then(Value::as_object);
    let seen: Vec<String> = listed
        .into_iter()
        .flatten()
        .filter_map(|(reason, count)| {
            count.as_u64().filter(|count| *count > 0).map(|count| format!("{reason} {count}"))
        })
        .collect();
    seen.join(", ")
}

fn kernel(netagent: &Netagent) -> Section {
    let evidence = &netagent.evidence;
    let mut section = Section::new("What the kernel has in the pod, asked by ip, tc and bpftool");
    for (index, one) in evidence.programs.iter().enumerate() {
        let name = if index == 0 { "programs" } else { "" };
        section.row(name, format!("{:<6} {:<16} {}", one.link, one.hook, one.program));
    }
    section.row("links", format!("{}; no bridge", evidence.links.join(", ")));
    section.row("addresses", format!("{} on eth0, as before", evidence.addresses.join(", ")));
    section.row("pins", format!("{} in the agent's bpffs", evidence.pins));
    section
}

fn comparison(netagent: &Told, bridge: &Told) -> Section {
    let mut section = Section::new("netagent and a Linux bridge, in this run");
    section.row("", columns("netagent", "bridge", "ratio"));
    let lease = |told: &Told| format!("{:.1} s", told.booted.lease_after.as_secs_f64());
    section.row("lease after", columns(&lease(netagent), &lease(bridge), ""));
    let (ours, theirs) = (&netagent.traffic, &bridge.traffic);
    for (name, ours, theirs) in [
        ("TCP node → guest", &ours.tcp_to_guest, &theirs.tcp_to_guest),
        ("TCP guest → node", &ours.tcp_from_guest, &theirs.tcp_from_guest),
    ] {
        let ratio = ratio(ours.received_bits_per_second(), theirs.received_bits_per_second());
        section.row(name, columns(&rate(ours), &rate(theirs), &ratio));
    }
    let mean = |ping: &netagent_tests::ping::Ping| {
        ping.mean_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2} ms"))
    };
    let (ours, theirs) = (&ours.ping_to_guest, &theirs.ping_to_guest);
    let times = ours.mean_ms.zip(theirs.mean_ms).map_or_else(String::new, |(a, b)| ratio(a, b));
    section.row("round trip", columns(&mean(ours), &mean(theirs), &times));
    section.row("", "One round each, on a machine that does other things too: a hint, not a benchmark.");
    section
}

fn columns(netagent: &str, bridge: &str, ratio: &str) -> String {
    format!("{netagent:>14}{bridge:>16}{ratio:>10}")
}

fn ratio(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "-".to_owned() }
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Lines of at most `width` characters, cut at spaces; runs of spaces within a line stay.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + length <= width || line.is_empty() => line.push_str(word),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_lines_of_a_box_are_equally_wide() {
        let mut section = Section::new("Way → there");
        section.row("short", "a");
        section.row("long", "word → ".repeat(40));
        section.row("columns", columns("954 Mbit/s", "700 Mbit/s", "1.36"));
        let text = section.render();
        assert!(text.lines().count() > 5);
        for line in text.lines() {
            assert_eq!(line.chars().count(), WIDTH + 2, "{line}");
        }
    }

    #[test]
    fn words_for_times_and_drops() {
        assert_eq!([45, 120, 86_400, 5_400].map(duration), ["45 s", "2 min", "24 h", "1:30:00 h"]);
        let port = json!({"counters": {"drops": {"foreign_mac": 0, "not_ours": 3}}});
        assert_eq!(drops(&port), "not_ours 3");
        assert_eq!(drops(&json!({})), "");
    }

    #[test]
    fn wraps_at_spaces_only() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb ", "cc"]);
        assert_eq!(wrap("aaaaaaa b", 3), ["aaaaaaa ", "b"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
