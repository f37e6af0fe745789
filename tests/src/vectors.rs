// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named frames with what must become of them, read from tests/vectors.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a file of vectors that cannot be read ends the test")]

use std::{fs, path::Path, sync::LazyLock};

use netagent_common::{
    address::{Mac, PrefixV4, PrefixV6, V4, V6},
    maps::{ACTIVE, PEER, Port, PuntKind, UNSERVED},
    policy::{Meta, Verdict},
    rule::Rule,
    wire::eth::Tag,
};
use serde::Deserialize;

/// From or to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Written to the tap.
    FromVm,
    /// Sent on the host peer.
    ToVm,
}

/// One frame and what must become of it.
#[derive(Clone, Debug)]
pub struct Vector {
    /// What it is, in words.
    pub name: String,
    /// From or to the guest.
    pub direction: Direction,
    /// The port's name, one of [`PORTS`].
    pub kind: String,
    /// The port.
    pub port: Port,
    /// What is known of the frame beside its bytes.
    pub meta: Meta,
    /// The port has learned [`LEARNED`].
    pub learned: bool,
    /// The frame from its Ethernet header on.
    pub frame: Vec<u8>,
    /// As [`spell`] writes it.
    pub verdict: String,
    /// The frame afterwards.
    pub becomes: Vec<u8>,
}

impl Vector {
    /// Whether a test run can make such an skb: it has no way to set a tag or a segment size aside.
    pub fn fits_test_run(&self) -> bool {
        self.meta.tag.is_none()
            && self.meta.gso_size == 0
            && self.frame.len() >= shortest_test_run(&self.frame)
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
    vlan: Option<u16>,
    #[serde(default)]
    gso_size: u32,
    #[serde(default)]
    learned: bool,
    verdict: String,
    frame: String,
    becomes: Option<String>,
}

/// The kernel refuses to test a frame that ends within its network header (net/bpf/test_run.c).
pub fn shortest_test_run(frame: &[u8]) -> usize {
    14 + match frame.get(12..14) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        _ => 1,
    }
}

fn own() -> String {
    "own".to_owned()
}

/// All vectors of both directions.
pub fn all() -> &'static [Vector] {
    static ALL: LazyLock<Vec<Vector>> = LazyLock::new(load);
    &ALL
}

fn load() -> Vec<Vector> {
    let read = |name, direction| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        file.vector.into_iter().map(move |entry| vector(entry, direction))
    };
    let all: Vec<_> =
        read("from_vm.toml", Direction::FromVm).chain(read("to_vm.toml", Direction::ToVm)).collect();
    assert!(all.len() > 250, "only {} vectors: files are cut short", all.len());
    all
}

fn vector(entry: Entry, direction: Direction) -> Vector {
    let frame = bytes(&entry.frame);
    Vector {
        direction,
        kind: entry.port.clone(),
        port: port(&entry.port),
        meta: Meta {
            len: frame.len() as u32,
            tag: entry.vlan.map_or(Tag::default(), |tci| Tag { protocol: 0x8100, tci }),
            gso_size: entry.gso_size,
        },
        learned: entry.learned,
        becomes: entry.becomes.as_deref().map_or_else(|| frame.clone(), bytes),
        frame,
        verdict: entry.verdict,
        name: entry.name,
    }
}

/// Hexadecimal words; `2e*9` is nine times the byte 2e.
fn bytes(text: &str) -> Vec<u8> {
    text.split_ascii_whitespace().flat_map(word).collect()
}

fn word(text: &str) -> Vec<u8> {
    let (digits, times) = text.split_once('*').unwrap_or((text, "1"));
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    assert!(digits.len().is_multiple_of(2), "{text}");
    let once: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect();
    once.repeat(times.parse().unwrap())
}

/// The link-local address that a port has learned where a vector says so.
pub const LEARNED: V6 = V6::new([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x1c, 0xaf, 0xe0, 0, 0, 0, 0, 0x77]);

/// The names of all ports.
pub const PORTS: [&str; 8] = [
    "own",
    "shared",
    "prefixes",
    "vlans",
    "ethertypes",
    "off",
    "shared without nd_target",
    "shared unserved",
];

/// The port that the vectors are about: 10.88.0.5/24 and fd00:88::5, next hop fe80::1.
pub fn port(kind: &str) -> Port {
    let mut port: Port = bytemuck::Zeroable::zeroed();
    port.flags = ACTIVE | PEER;
    port.mtu = 1500;
    port.pod_ifindex = 1;
    port.tap_ifindex = 1;
    port.pod_mac = Mac::new([0x0a, 0x58, 0x0a, 0x58, 0, 5]);
    port.guest_mac =
        if kind.starts_with("shared") { port.pod_mac } else { Mac::new([0x52, 0x54, 0, 0, 0, 1]) };
    port.link_local = port.guest_mac.link_local();
    port.ipv4[0] = V4::new([10, 88, 0, 5]);
    port.ipv4_broadcast[0] = V4::new([10, 88, 0, 255]);
    port.ipv6[0] = V6::new([0xfd, 0, 0, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    port.ipv6_neighbours[0] = V6::new([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    match kind {
        "own" | "shared" => {}
        "prefixes" => allow_prefixes(&mut port),
        "vlans" => {
            port.allow_vlan(7).unwrap();
            port.allow_vlan(42).unwrap();
        }
        "ethertypes" => port.allow_ethertype(0x88cc).unwrap(),
        "off" => port.guard_off = Rule::ALL_BITS,
        "shared unserved" => port.flags |= UNSERVED,
        "shared without nd_target" => port.guard_off = Rule::NdTarget.bit(),
        other => panic!("no port `{other}`"),
    }
    port
}

/// 192.0.2.0/24 and 203.0.113.7; 2001:db8:7::/48 and 2001:db8:8::7.
fn allow_prefixes(port: &mut Port) {
    for (address, length) in [([192, 0, 2, 0], 24), ([203, 0, 113, 7], 32)] {
        port.allow_ipv4_prefix(PrefixV4::new(address, length).unwrap()).unwrap();
    }
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    for (address, length) in [("2001:db8:7::", 48), ("2001:db8:8::7", 128)] {
        port.allow_ipv6_prefix(PrefixV6::new(v6(address), length).unwrap()).unwrap();
    }
}

/// The verdict as the files spell it.
pub fn spell(verdict: Verdict) -> String {
    match verdict {
        Verdict::Forward => "forward".to_owned(),
        Verdict::Claim(_) => "claim".to_owned(),
        Verdict::Forget(_) => "forget".to_owned(),
        Verdict::Punt(PuntKind::Dhcpv4) => "punt dhcpv4".to_owned(),
        Verdict::Punt(PuntKind::Dhcpv6) => "punt dhcpv6".to_owned(),
        Verdict::Punt(PuntKind::RouterSolicitation) => "punt router_solicitation".to_owned(),
        Verdict::Punt(PuntKind::TooBig) => "punt too_big".to_owned(),
        Verdict::Bridge => "bridge".to_owned(),
        Verdict::TooBig => "too big".to_owned(),
        Verdict::Drop(reason) => format!("drop {}", reason.as_str()),
    }
}

/// What the program does where the policy has a verdict of its own for more than one outcome: a claim is granted to a
/// port that has learned nothing yet, and what is too big is counted like anything oversized.
pub fn outcome(verdict: &str) -> &str {
    match verdict {
        "claim" | "forget" => "forward",
        "too big" => "drop oversized",
        other if other.starts_with("punt ") => "punt",
        other => other,
    }
}
