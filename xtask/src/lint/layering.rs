// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may import whom in netagent, and which crates and calls stay in which module. Downwards only.

use super::{
    Finding, Severity,
    source::{self, NamedPath, Token},
};

/// A top-level module of netagent and those that it may import.
struct Layer {
    module: &'static str,
    may_import: &'static [&'static str],
    reason: &'static str,
}

const fn layer(module: &'static str, may_import: &'static [&'static str], reason: &'static str) -> Layer {
    Layer { module, may_import, reason }
}

/// From the top down.
const LAYERS: [Layer; 14] = [
    layer(
        "main",
        &["cli", "cni", "app", "config", "telemetry"],
        "main picks the command and the exit code, no more",
    ),
    layer(
        "cli",
        &[
            "cni",
            "app",
            "api",
            "config",
            "telemetry",
            "reconcile",
            "discovery",
            "datapath",
            "dhcp",
            "netlink",
            "sys",
            "core",
        ],
        "the top: imported by main alone",
    ),
    layer(
        "cni",
        &["api", "config", "netlink", "sys", "core"],
        "a client of the agent that is started for each pod: it knows the API, not who serves it",
    ),
    layer(
        "app",
        &[
            "api",
            "config",
            "telemetry",
            "reconcile",
            "discovery",
            "datapath",
            "dhcp",
            "netlink",
            "sys",
            "core",
        ],
        "the one composition root: it knows all parts and none knows it",
    ),
    layer(
        "api",
        &["reconcile", "discovery", "datapath", "dhcp", "netlink", "sys", "core"],
        "the API shows what is below it; who starts it is above",
    ),
    layer(
        "reconcile",
        &["discovery", "datapath", "dhcp", "netlink", "sys", "core"],
        "it alone joins the four parts",
    ),
    layer(
        "discovery",
        &["sys", "core"],
        "the four parts are joined in reconcile, so that each can be read alone",
    ),
    layer(
        "datapath",
        &["sys", "core"],
        "the four parts are joined in reconcile, so that each can be read alone",
    ),
    layer("dhcp", &["sys", "core"], "the four parts are joined in reconcile, so that each can be read alone"),
    layer(
        "netlink",
        &["sys", "core"],
        "the four parts are joined in reconcile, so that each can be read alone",
    ),
    layer("config", &["core"], "parsed once, before any part exists"),
    layer("telemetry", &["core"], "modules own what they count; telemetry only shows it"),
    layer("sys", &["core"], "system calls know nothing of ports"),
    layer("core", &[], "pure: what it decides depends on its arguments alone"),
];

/// Paths that only some modules may name.
struct Reserved {
    /// A prefix of a path; a trailing `*` stands for the rest of the last word.
    path: &'static str,
    scope: Scope,
    reason: &'static str,
}

enum Scope {
    /// Nowhere else.
    Only(&'static [&'static str]),
    /// Everywhere else.
    Not(&'static [&'static str]),
}

const fn only(path: &'static str, modules: &'static [&'static str], reason: &'static str) -> Reserved {
    Reserved { path, scope: Scope::Only(modules), reason }
}

const fn impure(path: &'static str, reason: &'static str) -> Reserved {
    Reserved { path, scope: Scope::Not(&["core"]), reason }
}

const RESERVED: [Reserved; 21] = [
    only("aya", &["datapath"], "aya breaks its API with each release: one module to mend"),
    only("rtnetlink", &["netlink"], "rtnetlink breaks its API with each release: one module to mend"),
    only("netlink_packet_*", &["netlink"], "wire formats of netlink stay behind typed calls"),
    only("netlink_proto", &["netlink"], "wire formats of netlink stay behind typed calls"),
    impure("tokio", "core is pure: no tasks, no timers"),
    impure("tokio_stream", "core is pure: no tasks"),
    impure("futures_util", "core is pure: no tasks"),
    impure("nix", "core is pure: no system calls"),
    impure("libc", "core is pure: no system calls"),
    impure("tonic", "core is pure: the API is translated in api"),
    impure("tonic_prost", "core is pure: the API is translated in api"),
    impure("prost", "core is pure: the API is translated in api"),
    impure("std::fs", "core is pure: files are read by its callers"),
    impure("std::env", "core is pure: settings are arguments"),
    impure("std::process", "core is pure: it starts nothing"),
    impure("std::os", "core is pure: no file descriptors"),
    impure("std::thread", "core is pure: it decides, others wait"),
    impure("std::net::Tcp*", "core is pure: of std::net only the address types"),
    impure("std::net::Udp*", "core is pure: of std::net only the address types"),
    impure("std::time::SystemTime", "core is pure: the time is an argument"),
    impure("std::time::Instant", "core is pure: the time is an argument"),
];

/// Checks one file of netagent. `file` is relative to netagent/src, as `dhcp/v4.rs`.
pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let place = module_path(file);
    // lib.rs declares the modules; it imports none of them.
    let Some(&module) = place.first() else { return Vec::new() };
    let Some(layer) = LAYERS.iter().find(|layer| layer.module == module) else {
        return vec![error(
            1,
            format!("module {module} is in no layer: add it to LAYERS in xtask's lint/layering.rs"),
        )];
    };
    let tokens = source::tokens(text);
    let mut findings = unsafe_code(module, &tokens);
    for path in source::paths(&tokens) {
        findings.extend(import(layer, &place, &path));
        findings.extend(reserved(module, &path));
    }
    findings
}

/// `dhcp/v4/mod.rs` is `[dhcp, v4]`, `cli.rs` is `[cli]`, `lib.rs` is the root.
fn module_path(file: &str) -> Vec<&str> {
    let file = file.strip_suffix(".rs").unwrap_or(file);
    file.split('/').filter(|part| !matches!(*part, "mod" | "lib")).collect()
}

fn import(layer: &Layer, place: &[&str], path: &NamedPath) -> Option<Finding> {
    let target = target(place, path)?;
    if target == layer.module || layer.may_import.contains(&target) {
        return None;
    }
    // A name at the crate's root that is no module: a macro, a re-export.
    let known = LAYERS.iter().any(|layer| layer.module == target);
    let reason = if known { layer.reason } else { "it is in no layer of xtask's lint/layering.rs" };
    Some(error(path.line, format!("{} may not import {target}: {reason}", layer.module)))
}

/// The top-level module that a path leads to, if it is one of ours.
fn target<'a>(place: &[&str], path: &'a NamedPath) -> Option<&'a str> {
    let segments = &path.segments;
    match segments.first()?.as_str() {
        "crate" => segments.get(1).map(String::as_str),
        // main.rs is a crate of its own that imports the library.
        "netagent" if place == ["main"] => segments.get(1).map(String::as_str),
        "super" => {
            let up = segments.iter().take_while(|segment| *segment == "super").count();
            if up < place.len() { None } else { segments.get(up).map(String::as_str) }
        }
        _ => None,
    }
}

fn reserved(module: &str, path: &NamedPath) -> Vec<Finding> {
    let broken = RESERVED.iter().filter(|rule| {
        let free = match rule.scope {
            Scope::Only(modules) => modules.contains(&module),
            Scope::Not(modules) => !modules.contains(&module),
        };
        !free && is_below(&path.segments, rule.path)
    });
    let finding = |rule: &Reserved| {
        error(path.line, format!("{module} may not name {}: {}", path.segments.join("::"), rule.reason))
    };
    let mut findings: Vec<_> = broken.map(finding).collect();
    if module == "core" && path.segments.ends_with(&["Instant".to_owned(), "now".to_owned()]) {
        findings.push(error(path.line, "core may not ask the clock: the time is an argument".to_owned()));
    }
    findings
}

/// Whether `segments` are `prefix` or lie below it.
fn is_below(segments: &[String], prefix: &str) -> bool {
    let mut count = 0;
    for (index, word) in prefix.split("::").enumerate() {
        let Some(segment) = segments.get(index) else { return false };
        let same = match word.strip_suffix('*') {
            Some(start) => segment.starts_with(start),
            None => segment == word,
        };
        if !same {
            return false;
        }
        count += 1;
    }
    // A bare word alone may be anything, a variable too; a path or `use tokio;` names more than itself.
    segments.len() > 1 || count > 1
}

fn unsafe_code(module: &str, tokens: &[Token]) -> Vec<Finding> {
    if module == "sys" {
        return Vec::new();
    }
    let found = tokens.iter().filter(|token| token.text == "unsafe");
    found
        .map(|token| error(token.line, format!("{module} may not use unsafe: it lives in sys alone")))
        .collect()
}

fn error(line: usize, message: String) -> Finding {
    Finding { line, severity: Severity::Error, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(file: &str, text: &str) -> String {
        let findings = check(file, text);
        findings
            .iter()
            .map(|finding| format!("{}: {}", finding.line, finding.message))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn downwards_is_free() {
        assert_eq!(said("reconcile/apply.rs", "use crate::{core::plan::Step, datapath, dhcp::Server};"), "");
        assert_eq!(
            said("sys/tap.rs", "use crate::core::ids::IfName; use super::netns; fn f() { unsafe {} }"),
            ""
        );
        assert_eq!(said("lib.rs", "pub mod core; pub mod sys;"), "");
    }

    #[test]
    fn upwards_is_reported_with_line_and_reason() {
        let said = said("sys/tap.rs", "\nuse crate::{core::ids, netlink::Link};");
        assert_eq!(said, "2: sys may not import netlink: system calls know nothing of ports");
    }

    #[test]
    fn sideways_is_reported() {
        assert!(
            said("dhcp/task.rs", "fn f(x: crate::datapath::Punt) {}").contains("may not import datapath")
        );
        assert!(
            said("dhcp/v4/mod.rs", "use super::super::netlink::Link;").contains("may not import netlink")
        );
        assert_eq!(said("dhcp/v4/mod.rs", "use super::super::dhcp::Lease; use super::lease;"), "");
    }

    #[test]
    fn main_is_held_to_the_library_it_imports() {
        assert_eq!(said("main.rs", "use netagent::cli;"), "");
        assert!(said("main.rs", "use netagent::datapath;").contains("main may not import datapath"));
    }

    #[test]
    fn core_is_pure() {
        for line in [
            "use tokio::sync::mpsc;",
            "use std::{collections::BTreeMap, fs};",
            "fn f() { std::env::var(\"X\"); }",
            "use std::net::{IpAddr, TcpStream};",
            "use std::time::{Duration, SystemTime};",
            "use nix::libc;",
            "fn f() { Instant::now(); }",
        ] {
            assert!(said("core/plan.rs", line).contains("core may not"), "{line}");
        }
        assert_eq!(
            said("core/plan.rs", "use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};"),
            ""
        );
    }

    #[test]
    fn tests_in_core_are_free() {
        assert_eq!(
            said("core/plan.rs", "#[cfg(test)]\nmod tests {\n use std::fs;\n use crate::cli;\n}\n"),
            ""
        );
    }

    #[test]
    fn aya_and_netlink_stay_in_their_modules() {
        assert!(
            said("dhcp/task.rs", "use aya::maps::RingBuf;").contains("dhcp may not name aya::maps::RingBuf")
        );
        assert!(said("sys/x.rs", "use netlink_packet_route::link::X;").contains("sys may not name"));
        assert_eq!(said("datapath/load.rs", "use aya::Ebpf;"), "");
    }

    #[test]
    fn unsafe_is_reported_outside_sys() {
        assert!(
            said("datapath/load.rs", "\nfn f() { unsafe { g() } }")
                .starts_with("2: datapath may not use unsafe")
        );
        assert_eq!(said("datapath/load.rs", "// unsafe\nconst S: &str = \"unsafe\";"), "");
    }

    #[test]
    fn a_module_without_a_layer_is_reported() {
        assert!(said("drawer/mod.rs", "").contains("is in no layer"));
        assert!(said("core/plan.rs", "use crate::drawer::X;").contains("core may not import drawer"));
    }
}
