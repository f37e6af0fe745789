// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest that takes another identity gets onto the node: through netagent nothing, each frame counted under its
//! reason; through a bridge wired as KubeVirt's, most of it.

use std::{fmt::Write as _, fs};

use netagent_tests::{
    agent::Agent,
    bridge,
    vectors::{self, Direction, Vector},
};

use crate::{
    require_netns,
    scene::TAP,
    vectors::{cross, fits_the_wire, moved},
    wired::{self, Wired},
};

/// Fewer would mean that the vectors were cut short.
const FEWEST: usize = 40;
/// Where the table is written, when it is set: `docs/guard.md` is made so.
const TABLE: &str = "NETAGENT_SPOOF_TABLE";

struct Row {
    name: String,
    kind: &'static str,
    reason: String,
    bridged: bool,
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn nothing_spoofed_or_malformed_reaches_the_node() {
    require_netns!();
    let agent = Agent::builder().start().unwrap();
    let mut rows = Vec::new();
    for kind in ["own", "shared"] {
        let spoofed: Vec<&Vector> = vectors::all()
            .iter()
            .filter(|v| {
                v.direction == Direction::FromVm
                    && v.kind == kind
                    && vectors::outcome(&v.verdict).starts_with("drop")
            })
            .filter(|vector| fits_the_wire(vector))
            .collect();
        let port = vectors::port(kind);
        let mut ours = Wired::attach(&agent, &port, "peer").unwrap();
        let topology = wired::pod(&port).unwrap();
        bridge::wire_links(&topology, TAP).unwrap();
        let mut bridged = Wired::bridged(topology, port.guest_mac.octets()).unwrap();
        for vector in spoofed {
            ours.learn(vector.learned).unwrap();
            let before = ours.counted(&agent).unwrap();
            let arrived = cross(&mut ours, vector);
            let counted = moved(&before, &ours.counted(&agent).unwrap());
            assert!(arrived.is_empty(), "{}: {arrived:02x?} reached the node", vector.name);
            let reason = vectors::outcome(&vector.verdict).trim_start_matches("drop ").to_owned();
            assert_eq!(counted.get(&reason), Some(&1), "{}: {counted:?}", vector.name);
            // Each frame for itself: one with the gateway's MAC would take the others' destination away.
            bridged.topology.pod.ip(&format!("link set {} type bridge fdb_flush", bridge::BRIDGE)).unwrap();
            let bridged = !cross(&mut bridged, vector).is_empty();
            rows.push(Row { name: vector.name.clone(), kind, reason, bridged });
        }
    }
    assert!(rows.len() >= FEWEST, "only {} frames", rows.len());
    // The comparison would show nothing if the bridge were not wired.
    assert!(rows.iter().any(|row| row.bridged), "nothing passes the bridge");
    if let Some(path) = std::env::var_os(TABLE) {
        fs::write(path, table(&rows)).unwrap();
    }
}

fn table(rows: &[Row]) -> String {
    let passed = rows.iter().filter(|row| row.bridged).count();
    let mut text = format!(
        "# What a guest cannot send\n\n\
         {} frames that a guest wrote to its tap, from `tests/vectors/from_vm.toml`: spoofed, malformed or too long. {passed} of them \
         reach the\nnode through a Linux bridge wired as KubeVirt's, none through netagent. Written by a run of the test \
         (docs/testing.md).\n\n\
         | frame from the guest | port | netagent | counted as | Linux bridge |\n|---|---|---|---|---|\n",
        rows.len(),
    );
    for Row { name, kind, reason, bridged } in rows {
        let bridge = if *bridged { "arrives" } else { "dropped" };
        writeln!(text, "| {name} | {kind} | dropped | `{reason}` | {bridge} |").unwrap();
    }
    text
}
