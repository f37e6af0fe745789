// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named frames with what must become of them, read from tests/vectors.

use std::{fs, path::Path};

use netagent_common::{
    maps::{ACTIVE, PEER, Port, PuntKind},
    policy::{Meta, Verdict},
};
use serde::Deserialize;

/// From or to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    FromVm,
    ToVm,
}

/// One frame and what must become of it.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) direction: Direction,
    pub(crate) port: Port,
    pub(crate) meta: Meta,
    pub(crate) frame: Vec<u8>,
    pub(crate) verdict: String,
    pub(crate) becomes: Vec<u8>,
}

impl Vector {
    /// Whether a test run can make such an skb: it has no way to set a tag or a segment size aside.
    pub(crate) fn fits_test_run(&self) -> bool {
        !self.meta.vlan && self.meta.gso_size == 0 && self.frame.len() >= shortest_test_run(&self.frame)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vector: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default = "own")]
    port: String,
    #[serde(default)]
    vlan: bool,
    #[serde(default)]
    gso_size: u32,
    verdict: String,
    frame: String,
    becomes: Option<String>,
}

/// The kernel refuses to test a frame that ends within its network header (net/bpf/test_run.c).
pub(crate) fn shortest_test_run(frame: &[u8]) -> usize {
    14 + match frame[12..14] {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 1,
    }
}

fn own() -> String {
    "own".to_owned()
}

/// All vectors of both directions.
pub(crate) fn all() -> Vec<Vector> {
    let read = |name, direction| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        file.vector.into_iter().map(move |entry| vector(entry, direction))
    };
    let all: Vec<_> =
        read("from_vm.toml", Direction::FromVm).chain(read("to_vm.toml", Direction::ToVm)).collect();
    assert!(all.len() > 50, "only {} vectors: files are cut short", all.len());
    all
}

fn vector(entry: Entry, direction: Direction) -> Vector {
    let frame = bytes(&entry.frame);
    Vector {
        direction,
        port: port(&entry.port),
        meta: Meta { len: frame.len() as u32, vlan: entry.vlan, gso_size: entry.gso_size },
        becomes: entry.becomes.as_deref().map_or_else(|| frame.clone(), bytes),
        frame,
        verdict: entry.verdict,
        name: entry.name,
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "{hex}");
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The port that the vectors are about: 10.88.0.5/24 and fd00:88::5.
pub(crate) fn port(kind: &str) -> Port {
    let mut port: Port = bytemuck::Zeroable::zeroed();
    port.flags = ACTIVE | PEER;
    port.mtu = 1500;
    port.pod_ifindex = 1;
    port.tap_ifindex = 1;
    port.pod_mac = [0x0a, 0x58, 0x0a, 0x58, 0, 5];
    port.guest_mac = match kind {
        "own" => [0x52, 0x54, 0, 0, 0, 1],
        "shared" => port.pod_mac,
        other => panic!("no port `{other}`"),
    };
    port.ipv4[0] = [10, 88, 0, 5];
    port.ipv4_broadcast[0] = [10, 88, 0, 255];
    port.ipv6[0] = [0xfd, 0, 0, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    port
}

/// The verdict as the files spell it.
pub(crate) fn spell(verdict: Verdict) -> String {
    match verdict {
        Verdict::Forward => "forward".to_owned(),
        Verdict::Punt(PuntKind::Dhcpv4) => "punt dhcpv4".to_owned(),
        Verdict::Punt(PuntKind::Dhcpv6) => "punt dhcpv6".to_owned(),
        Verdict::Punt(PuntKind::RouterSolicitation) => "punt router_solicitation".to_owned(),
        Verdict::Drop(reason) => format!("drop {}", reason.as_str()),
    }
}
