// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers to frames that are longer than the pod link takes, so that the guest's path MTU discovery works.
//!
//! A guest that does not take the MTU from its lease sends what the link cannot carry. A bridge drops that without a
//! word. Here the guest is told: fragmentation needed (RFC 1191, section 4) or packet too big (RFC 4443, section 3.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Slice, Icmpv4Type, Icmpv6Type, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice,
    PacketBuilder, icmpv4::DestUnreachableHeader,
};

const TTL: u8 = 64;
/// Longest ICMPv4 error, with its IPv4 header (RFC 1812, section 4.3.2.3).
const ICMPV4_MAX: usize = 576;
/// Longest ICMPv6 error, with its IPv6 header: the least MTU of IPv6 (RFC 4443, section 2.4 (c)).
const ICMPV6_MAX: usize = 1280;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;

/// Why a frame that is too long is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is neither IPv4 nor IPv6, or not as these must be.
    NotIp,
    /// RFC 1122, section 3.2.2: never about a group, a later fragment or another error.
    NotAnswerable,
    /// The link is too narrow for IPv6 at all (RFC 8200, section 5).
    NarrowerThanIpv6,
}

impl Silence {
    /// Its name in the counters.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::NotAnswerable => "not_answerable",
            Self::NarrowerThanIpv6 => "narrower_than_ipv6",
        }
    }
}

/// Puts a VLAN tag into the answer to a tagged frame (IEEE 802.1Q).
pub(super) fn put_tag(frame: &mut Vec<u8>, tci: u16) {
    const AFTER_MACS: usize = 12;
    let [high, low] = tci.to_be_bytes();
    if frame.len() >= AFTER_MACS {
        frame.splice(AFTER_MACS..AFTER_MACS, [0x81, 0x00, high, low]);
    }
}

/// Builds the answer to `frame`, of which at least the headers are there. It comes from the next hop of the frame's
/// family where the guest has one, else from where the frame was going: a guest takes it from either.
pub(super) fn answer(frame: &[u8], mtu: u32, gateways: &[IpAddr]) -> Result<Vec<u8>, Silence> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).map_err(|_| Silence::NotIp)?;
    let reply = (ethernet.destination(), ethernet.source());
    if reply.0[0] & 1 != 0 {
        return Err(Silence::NotAnswerable);
    }
    match ethernet.ether_type() {
        EtherType::IPV4 => fragmentation_needed(ethernet.payload_slice(), reply, mtu, gateways),
        EtherType::IPV6 => packet_too_big(ethernet.payload_slice(), reply, mtu, gateways),
        _ => Err(Silence::NotIp),
    }
}

/// Source and destination MAC of the answer.
type Macs = ([u8; 6], [u8; 6]);

fn fragmentation_needed(
    packet: &[u8],
    macs: Macs,
    mtu: u32,
    gateways: &[IpAddr],
) -> Result<Vec<u8>, Silence> {
    // Only the start of the frame is here, so its length field says more than there is.
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| Silence::NotIp)?;
    let (source, destination) = (header.source_addr(), header.destination_addr());
    let after = packet.get(header.slice().len()..).unwrap_or_default();
    let is_error =
        header.protocol() == IpNumber::ICMP && after.first().is_none_or(|kind| is_icmpv4_error(*kind));
    let is_group = destination.is_multicast() || destination.is_broadcast();
    if header.fragments_offset().value() != 0 || is_error || is_group || source.is_unspecified() {
        return Err(Silence::NotAnswerable);
    }
    let gateway = gateways.iter().find_map(|g| if let IpAddr::V4(g) = g { Some(*g) } else { None });
    let from: Ipv4Addr = gateway.unwrap_or(destination);
    let builder = PacketBuilder::ethernet2(macs.0, macs.1).ipv4(from.octets(), source.octets(), TTL).icmpv4(
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded {
            next_hop_mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        }),
    );
    let quote = packet.get(..ICMPV4_MAX - IPV4_HEADER - ICMP_HEADER).unwrap_or(packet);
    let mut reply = Vec::with_capacity(builder.size(quote.len()));
    builder.write(&mut reply, quote).map_err(|_| Silence::NotIp)?;
    Ok(reply)
}

fn packet_too_big(packet: &[u8], macs: Macs, mtu: u32, gateways: &[IpAddr]) -> Result<Vec<u8>, Silence> {
    if mtu < ICMPV6_MAX as u32 {
        return Err(Silence::NarrowerThanIpv6);
    }
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| Silence::NotIp)?;
    let (source, destination) = (header.source_addr(), header.destination_addr());
    let after = packet.get(IPV6_HEADER..).unwrap_or_default();
    // Errors behind extension headers are not looked for: the token bucket bounds what they could cause.
    let is_error =
        header.next_header() == IpNumber::IPV6_ICMP && after.first().is_none_or(|kind| *kind < 128);
    if is_error || destination.is_multicast() || source.is_unspecified() {
        return Err(Silence::NotAnswerable);
    }
    let gateway = gateways.iter().find_map(|g| if let IpAddr::V6(g) = g { Some(*g) } else { None });
    let from: Ipv6Addr = gateway.unwrap_or(destination);
    let builder = PacketBuilder::ethernet2(macs.0, macs.1)
        .ipv6(from.octets(), source.octets(), TTL)
        .icmpv6(Icmpv6Type::PacketTooBig { mtu });
    let quote = packet.get(..ICMPV6_MAX - IPV6_HEADER - ICMP_HEADER).unwrap_or(packet);
    let mut reply = Vec::with_capacity(builder.size(quote.len()));
    builder.write(&mut reply, quote).map_err(|_| Silence::NotIp)?;
    Ok(reply)
}

/// Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 1122, section 3.2.2).
fn is_icmpv4_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

#[cfg(test)]
mod tests {
    use etherparse::{IpFragOffset, Ipv4Header, NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    const GUEST: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const ROUTER: [u8; 6] = [0x0a, 0x58, 0, 0, 0, 1];
    const GATEWAY4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
    const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

    fn udp4(destination: [u8; 4], length: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(GUEST, ROUTER)
            .ipv4([10, 0, 0, 2], destination, 64)
            .udp(1, 2)
            .write(&mut frame, &vec![7; length])
            .unwrap();
        frame
    }

    fn udp6(destination: Ipv6Addr, length: usize) -> Vec<u8> {
        let source = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(GUEST, ROUTER)
            .ipv6(source.octets(), destination.octets(), 64)
            .udp(1, 2)
            .write(&mut frame, &vec![7; length])
            .unwrap();
        frame
    }

    #[test]
    fn ipv4_is_told_the_mtu_by_its_gateway_and_quoted() {
        let asked = udp4([192, 0, 2, 1], 1472);
        // What the punt ring keeps of a long frame is enough.
        let reply = answer(&asked[..1000], 1450, &[GATEWAY6, GATEWAY4]).unwrap();
        assert_eq!(reply.len(), 14 + ICMPV4_MAX);
        let parsed = SlicedPacket::from_ethernet(&reply).unwrap();
        let Some(NetSlice::Ipv4(ip)) = parsed.net else { panic!("not IPv4") };
        assert_eq!(IpAddr::from(ip.header().source_addr()), GATEWAY4);
        assert_eq!(ip.header().destination_addr(), Ipv4Addr::new(10, 0, 0, 2));
        let Some(TransportSlice::Icmpv4(icmp)) = parsed.transport else { panic!("not ICMPv4") };
        let sum = etherparse::checksum::Sum16BitWords::new().add_slice(icmp.slice()).ones_complement();
        assert_eq!(sum, 0, "the ICMP checksum");
        let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1450 };
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(needed));
        assert_eq!(icmp.payload(), &asked[14..14 + 548]);
        assert_eq!((&reply[..6], &reply[6..12]), (&GUEST[..], &ROUTER[..]));
    }

    #[test]
    fn ipv6_is_told_the_mtu_and_quoted_up_to_the_least_mtu() {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
        let asked = udp6(far, 1452);
        let reply = answer(&asked, 1400, &[GATEWAY4]).unwrap();
        assert_eq!(reply.len(), 14 + ICMPV6_MAX);
        let parsed = SlicedPacket::from_ethernet(&reply).unwrap();
        let Some(NetSlice::Ipv6(ip)) = parsed.net else { panic!("not IPv6") };
        assert_eq!(ip.header().source_addr(), far, "without a gateway it comes from the destination");
        let (source, destination) = (ip.header().source(), ip.header().destination());
        let Some(TransportSlice::Icmpv6(icmp)) = parsed.transport else { panic!("not ICMPv6") };
        assert!(icmp.is_checksum_valid(source, destination));
        assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1400 });
        assert_eq!(icmp.payload(), &asked[14..14 + 1232]);
    }

    #[test]
    fn a_tag_stands_between_addresses_and_type() {
        let mut frame = vec![1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 0x45];
        put_tag(&mut frame, 0x6007);
        assert_eq!(frame[10..], [2, 2, 0x81, 0, 0x60, 7, 8, 0, 0x45]);
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        let silent = |frame: &[u8]| answer(frame, 1400, &[GATEWAY4, GATEWAY6]).unwrap_err();
        assert_eq!(silent(&udp4([224, 0, 0, 5], 1472)), Silence::NotAnswerable);
        assert_eq!(silent(&udp4([255; 4], 1472)), Silence::NotAnswerable);
        assert_eq!(silent(&udp6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 1452)), Silence::NotAnswerable);
        let mut to_all = udp4([192, 0, 2, 1], 1472);
        to_all[..6].fill(0xff);
        assert_eq!(silent(&to_all), Silence::NotAnswerable);

        let mut later = udp4([192, 0, 2, 1], 1472);
        let mut header = Ipv4Header::from_slice(&later[14..]).unwrap().0;
        header.fragment_offset = IpFragOffset::try_new(3).unwrap();
        later[14..34].copy_from_slice(&header.to_bytes());
        assert_eq!(silent(&later), Silence::NotAnswerable);

        // An answer to an answer.
        let error = answer(&udp4([192, 0, 2, 1], 1472), 1400, &[]).unwrap();
        assert_eq!(silent(&error), Silence::NotAnswerable);
        let error = answer(&udp6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), 1452), 1400, &[]).unwrap();
        assert_eq!(silent(&error), Silence::NotAnswerable);

        assert_eq!(
            answer(&udp6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), 1452), 1279, &[]).unwrap_err(),
            Silence::NarrowerThanIpv6
        );
        assert_eq!(silent(&[0; 60]), Silence::NotIp);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_answer_at_length(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2048),
            kind in 0usize..3,
        ) {
            let mut bytes = bytes;
            if let Some(ethertype) = bytes.get_mut(12..14) {
                ethertype.copy_from_slice(&[[8, 0], [0x86, 0xdd], [8, 6]][kind]);
            }
            if let Ok(reply) = answer(&bytes, 1400, &[]) {
                proptest::prop_assert!(reply.len() <= 14 + ICMPV6_MAX);
            }
        }
    }
}
