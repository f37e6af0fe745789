// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet, IPv6 and the fixed part of a router advertisement (RFC 4861, section 4.2) around its options.

use etherparse::PacketBuilder;

use super::Advert;

/// RFC 4861, section 6.1.2: an advertisement that came through a router is not believed.
pub(super) const HOP_LIMIT: u8 = 255;
/// The least MTU of IPv6 (RFC 8200, section 5).
pub(super) const MIN_MTU: u32 = 1280;

const ROUTER_ADVERTISEMENT: u8 = 134;
/// ff02::1 and its Ethernet address (RFC 2464, section 7).
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const IPV6_HEADER: usize = 40;
/// Type to router lifetime, then reachable time and retransmission timer.
const FIXED: usize = 16;
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;

/// Bytes that options may have.
pub(super) fn option_space(advert: &Advert) -> usize {
    // What the length field of the IPv6 header can say.
    let packet = advert.mtu.clamp(MIN_MTU, u16::MAX.into());
    usize::try_from(packet).unwrap_or_default().saturating_sub(IPV6_HEADER).saturating_sub(FIXED)
}

/// Builds the frame. Hop limit, reachable time and retransmission timer are 0: the guest keeps its own.
pub(super) fn build(advert: &Advert, options: &[u8]) -> Vec<u8> {
    let flags = if advert.managed { MANAGED } else { 0 } | if advert.other { OTHER } else { 0 };
    let [high, low] = advert.router_lifetime.to_be_bytes();
    let builder = PacketBuilder::ethernet2(advert.server_mac.0, ALL_NODES_MAC)
        .ipv6(advert.router.octets(), ALL_NODES, HOP_LIMIT)
        .icmpv6_raw(ROUTER_ADVERTISEMENT, 0, [0, flags, high, low]);
    let mut body = vec![0; 8];
    body.extend(options);
    let mut frame = Vec::with_capacity(builder.size(body.len()));
    let written = builder.write(&mut frame, &body);
    debug_assert!(written.is_ok(), "options stay within `option_space`, and a vector takes every byte");
    frame
}
