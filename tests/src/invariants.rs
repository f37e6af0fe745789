// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for every frame whatever its bytes: the fuzz targets, and their corpus on a stable compiler, call these.
//!
//! The frame that comes out is read by code of its own, so that a mistake of the policy's readers shows.

#![expect(clippy::panic, reason = "what does not hold ends the run")]

use netagent_common::{
    address::{V4, V6},
    counters::DropReason,
    maps::{Port, UNSERVED},
    policy::{self, Meta, Verdict},
    wire::{
        arp,
        eth::{self, Tag},
        ipv4, ipv6, nd, udp,
    },
};

use crate::vectors;

/// Bytes in front of the frame: port, what is set beside the frame, two of the tag, two of the segment size.
const PREFIX: usize = 6;
/// Bits of the second byte.
const TAGGED: u8 = 1;
const HAS_LEARNED: u8 = 2;
/// One input of a fuzzer.
struct Input {
    kind: &'static str,
    port: Port,
    meta: Meta,
    learned: V6,
    frame: Vec<u8>,
}

impl Input {
    fn read(data: &[u8]) -> Option<Self> {
        let (&[kind, bits, tci_high, tci_low, gso_high, gso_low], frame) =
            data.split_first_chunk::<PREFIX>()?;
        let kind = vectors::PORTS.get(usize::from(kind) % vectors::PORTS.len())?;
        let tci = u16::from_be_bytes([tci_high, tci_low]);
        let meta = Meta {
            len: frame.len() as u32,
            tag: if bits & TAGGED != 0 { Tag { protocol: eth::VLAN, tci } } else { Tag::default() },
            gso_size: u16::from_be_bytes([gso_high, gso_low]).into(),
        };
        let learned = if bits & HAS_LEARNED != 0 { vectors::LEARNED } else { V6::UNSPECIFIED };
        Some(Self { kind, port: vectors::port(kind), meta, learned, frame: frame.to_vec() })
    }
}

/// A vector as an input of the target for its direction.
pub fn encode(vector: &vectors::Vector) -> Vec<u8> {
    let kind = vectors::PORTS.iter().position(|kind| *kind == vector.kind).unwrap_or(0) as u8;
    let tagged = if vector.meta.tag.is_none() { 0 } else { TAGGED };
    let learned = if vector.learned { HAS_LEARNED } else { 0 };
    let mut input = vec![kind, tagged | learned];
    input.extend(vector.meta.tag.tci.to_be_bytes());
    input.extend((vector.meta.gso_size as u16).to_be_bytes());
    input.extend(&vector.frame);
    input
}

/// A frame of the guest: one that is forwarded has the port's identity, one that is not is as it came.
///
/// # Panics
/// When that does not hold.
pub fn from_vm(data: &[u8]) {
    let Some(Input { kind, port, meta, learned, frame }) = Input::read(data) else { return };
    let mut after = frame.clone();
    let verdict = policy::from_vm(after.as_mut_slice(), meta, &port, || learned);
    assert_eq!(after.len(), frame.len());
    let plain = policy::is_plain_from_vm(frame.as_slice(), meta, &port);
    plain_is_forwarded(plain, verdict, after == frame);
    match verdict {
        Verdict::Forward | Verdict::Claim(_) => {
            let seen = read(&after, !meta.tag.is_none());
            if port.guard_off == 0 {
                leaves_as_the_port(kind, &port, learned, verdict, &after, &seen);
            }
            only_macs_changed(&frame, &after, &seen);
        }
        Verdict::Punt(_) | Verdict::Bridge | Verdict::TooBig => {
            assert_eq!(after, frame, "changed, and not forwarded")
        }
        Verdict::Drop(reason) => {
            // A rewrite that finds no room says `malformed` midway; nobody sees that frame.
            assert!(after == frame || reason == DropReason::Malformed, "changed, and dropped as {reason:?}");
        }
        Verdict::Forget(_) => panic!("what the guest sends makes it forget its address"),
    }
}

/// A frame for the guest: one that is forwarded is for the guest or a group.
///
/// # Panics
/// When that does not hold.
pub fn to_vm(data: &[u8]) {
    let Some(Input { port, meta, learned, frame, .. }) = Input::read(data) else { return };
    let mut after = frame.clone();
    let verdict = policy::to_vm(after.as_mut_slice(), meta, &port, || learned);
    assert_eq!(after.len(), frame.len());
    let plain = policy::is_plain_to_vm(frame.as_slice(), meta, &port);
    plain_is_forwarded(plain, verdict, after == frame);
    match verdict {
        Verdict::Forward | Verdict::Forget(_) => {
            assert!(after[0] & 1 != 0 || after[..6] == port.guest_mac.octets(), "for another station");
            let seen = read(&after, !meta.tag.is_none());
            only_macs_changed(&frame, &after, &seen);
            if port.guard_off == 0 {
                reaches_the_port(&port, learned, &after, &seen);
            }
        }
        Verdict::Drop(_) => {}
        Verdict::Punt(_) | Verdict::Bridge | Verdict::TooBig | Verdict::Claim(_) => {
            panic!("{verdict:?} of a frame for the guest")
        }
    }
}

fn plain_is_forwarded(plain: bool, verdict: Verdict, unchanged: bool) {
    assert!(
        !plain || verdict == Verdict::Forward && unchanged,
        "taken for plain, and the rules say {verdict:?}"
    );
}

/// The readers of headers at any offset: they stay within the frame.
///
/// # Panics
/// When a reader claims bytes behind the end.
pub fn wire(data: &[u8]) {
    let Some((&[high, low], frame)) = data.split_first_chunk::<2>() else { return };
    let at = usize::from(u16::from_be_bytes([high, low]));
    let end = frame.len();
    let _ = (eth::read(frame), arp::read(frame, at), udp::destination_port(frame, at), nd::target(frame, at));
    if let Some(ip) = ipv4::read(frame, at) {
        assert!(at + ipv4::HEADER <= end && ip.header >= ipv4::HEADER, "IPv4 at {at} of {end}");
    }
    if let Some(ip) = ipv6::read(frame, at) {
        assert!(at + ipv6::HEADER <= end, "IPv6 at {at} of {end}");
        let start = at + ipv6::HEADER;
        if let Some(upper) = ipv6::upper(frame, ip.next, start, start + ip.payload) {
            assert!(upper.at >= start, "upper header at {} before {start}", upper.at);
        }
    }
    if let Some(option) = nd::link_address(frame, at, end)
        && !option.is_none()
    {
        assert!(option.at >= at && option.at < end, "option at {} of {end}", option.at);
    }
}

/// A frame as its receiver reads it.
enum Seen {
    Ipv4 { at: usize },
    Arp { at: usize },
    Ipv6 { at: usize },
    Other { ethertype: u16 },
}

fn read(frame: &[u8], tagged_beside: bool) -> Seen {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let tagged = !tagged_beside && frame.len() >= 18 && word(12) == 0x8100;
    let at = if tagged { 18 } else { 14 };
    match word(at - 2) {
        0x0800 => Seen::Ipv4 { at },
        0x0806 => Seen::Arp { at },
        0x86dd => Seen::Ipv6 { at },
        ethertype => Seen::Other { ethertype },
    }
}

fn leaves_as_the_port(kind: &str, port: &Port, learned: V6, verdict: Verdict, frame: &[u8], seen: &Seen) {
    assert_eq!(&frame[6..12], port.pod_mac.octets(), "{kind}: the source");
    match *seen {
        Seen::Ipv4 { at } => {
            let source = &frame[at + 12..at + 16];
            let dhcp = source == [0; 4] && frame[at + 9] == 17;
            assert!(
                owns_v4(port, source) || dhcp && (has_vlans(port) || port.flags & UNSERVED != 0),
                "{kind}: {source:?}"
            );
            let first = (u16::from_be_bytes([frame[at + 6], frame[at + 7]]) & 0x1fff) == 0;
            let ports = at + usize::from(frame[at] & 15) * 4;
            if frame[at + 9] == 17 && first {
                assert_ne!(&frame[ports + 2..ports + 4], 68u16.to_be_bytes(), "{kind}: to a DHCP client");
            }
        }
        Seen::Arp { at } => {
            assert_eq!(&frame[at + 8..at + 14], port.pod_mac.octets(), "{kind}: ARP's sender");
            let sender = &frame[at + 14..at + 18];
            let probe = sender == [0; 4] && owns_v4(port, &frame[at + 24..at + 28]);
            assert!(owns_v4(port, sender) || probe, "{kind}: ARP of {sender:?}");
        }
        Seen::Ipv6 { at } => {
            let source = address(&frame[at + 8..at + 24]);
            let message = icmpv6(frame, at);
            let kind_of_message = message.and_then(|at| frame.get(at).copied());
            if source.is_unspecified() {
                // Duplicate address detection and the group reports that go with it (RFC 3590); router solicitations
                // only in a VLAN, where the agent does not answer them.
                let solicits = kind_of_message == Some(133) && has_vlans(port);
                let own = matches!(kind_of_message, Some(131 | 135 | 143));
                assert!(own || solicits, "{kind}: `::` in {kind_of_message:?}");
            } else {
                assert!(owns_v6(port, learned, source), "{kind}: {:02x?}", source.octets());
            }
            assert!(!matches!(kind_of_message, Some(134 | 137)), "{kind}: speaks as a router");
            if let (Some(at), Some(136)) = (message, kind_of_message) {
                let target = address(&frame[at + 8..at + 24]);
                assert!(owns_v6(port, learned, target), "{kind}: advertises {:02x?}", target.octets());
            }
        }
        Seen::Other { ethertype } => assert!(port.ethertypes.contains(&ethertype), "{kind}: {ethertype:04x}"),
    }
    if let Verdict::Claim(target) = verdict {
        assert!(
            target.is_link_local() && !port.ipv6_neighbours.contains(&target),
            "{kind}: claims {target:?}"
        );
    }
}

/// Where the ICMPv6 message is, behind extension headers (RFC 8200, RFC 4302); none in a later fragment.
fn icmpv6(frame: &[u8], at: usize) -> Option<usize> {
    let (mut next, mut at) = (*frame.get(at + 6)?, at + 40);
    loop {
        let header = frame.get(at..at + 8);
        match next {
            58 => return Some(at),
            0 | 43 | 60 => at += 8 + 8 * usize::from(header?[1]),
            51 => at += 8 + 4 * usize::from(header?[1]),
            44 if header?[2] == 0 && header?[3] & 0xf8 == 0 => at += 8,
            _ => return None,
        }
        next = header?[0];
    }
}

fn reaches_the_port(port: &Port, learned: V6, frame: &[u8], seen: &Seen) {
    match *seen {
        Seen::Ipv4 { at } => {
            let to = &frame[at + 16..at + 20];
            let broadcast = to == [255; 4] || port.ipv4_broadcast.iter().any(|own| to == own.octets());
            assert!(owns_v4(port, to) || to[0] & 0xf0 == 0xe0 || broadcast && to != [0; 4], "to {to:?}");
        }
        Seen::Ipv6 { at } => {
            let to = address(&frame[at + 24..at + 40]);
            assert!(owns_v6(port, learned, to) || to.is_multicast(), "to {:02x?}", to.octets());
        }
        Seen::Arp { .. } => {}
        Seen::Other { ethertype } => assert!(port.ethertypes.contains(&ethertype), "{ethertype:04x}"),
    }
}

/// Nothing but MACs, and the checksum that covers one, is different.
fn only_macs_changed(before: &[u8], after: &[u8], seen: &Seen) {
    let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
    let inner: Vec<usize> = changed.iter().copied().filter(|at| *at >= 12).collect();
    match *seen {
        Seen::Arp { at } => {
            let macs =
                |place: &usize| (at + 8..at + 14).contains(place) || (at + 18..at + 24).contains(place);
            assert!(inner.iter().all(macs), "changed at {inner:?}");
        }
        // A link-layer address option and the checksum.
        Seen::Ipv6 { .. } => {
            let span = inner.iter().filter(|place| !is_checksum(**place, seen, after)).copied();
            let (first, last) = (span.clone().min(), span.max());
            if let (Some(first), Some(last)) = (first, last) {
                assert!(last - first < 6, "changed at {inner:?}");
            }
        }
        _ => assert!(inner.is_empty(), "changed at {inner:?}"),
    }
}

/// Whether the place is ICMPv6's checksum. Behind extension headers it lies further back: anywhere before the option.
fn is_checksum(place: usize, seen: &Seen, frame: &[u8]) -> bool {
    match *seen {
        Seen::Ipv6 { at } if frame[at + 6] == 58 => (at + 42..at + 44).contains(&place),
        Seen::Ipv6 { at } => place >= at + 42,
        _ => false,
    }
}

fn has_vlans(port: &Port) -> bool {
    port.vlans.iter().any(|id| *id != 0)
}

fn address(bytes: &[u8]) -> V6 {
    V6::new(bytes.try_into().unwrap_or_default())
}

fn owns_v4(port: &Port, bytes: &[u8]) -> bool {
    let octets: [u8; 4] = bytes.try_into().unwrap_or_default();
    octets != [0; 4]
        && (port.ipv4.iter().any(|own| own.octets() == octets)
            || port.ipv4_prefixes.iter().any(|prefix| prefix.holds(V4::new(octets))))
}

fn owns_v6(port: &Port, learned: V6, address: V6) -> bool {
    !address.is_unspecified()
        && (port.ipv6.contains(&address)
            || address == port.link_local
            || address == learned
            || port.ipv6_prefixes.iter().any(|prefix| prefix.holds(address)))
}
