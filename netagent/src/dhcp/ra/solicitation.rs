// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which router solicitations are valid (RFC 4861, section 6.1.1), and the guest's.

use std::net::Ipv6Addr;

use etherparse::{EtherType, Ethernet2Slice, Icmpv6Slice, IpNumber, Ipv6Slice};

use super::{Advert, frame::HOP_LIMIT, outcome::Silence};

const ROUTER_SOLICITATION: u8 = 133;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
/// Bytes in front of the options.
const FIXED: usize = 8;

/// Checks a guest's frame.
pub(super) fn check(adverts: &[Advert], frame: &[u8]) -> Result<(), Silence> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).map_err(|_| Silence::NotSolicitation)?;
    if ethernet.ether_type() != EtherType::IPV6 {
        return Err(Silence::NotSolicitation);
    }
    let ip = Ipv6Slice::from_slice(ethernet.payload_slice()).map_err(|_| Silence::BadIpv6)?;
    let header = ip.header();
    // Zero means "as long as the frame" to etherparse (a jumbogram), which no solicitation is.
    if header.payload_length() == 0 {
        return Err(Silence::BadIpv6);
    }
    let payload = ip.payload();
    if payload.ip_number != IpNumber::IPV6_ICMP {
        return Err(Silence::NotSolicitation);
    }
    if payload.fragmented || header.hop_limit() != HOP_LIMIT {
        return Err(Silence::NotFromLink);
    }
    let icmp = Icmpv6Slice::from_slice(payload.payload).map_err(|_| Silence::BadIcmpv6)?;
    if icmp.type_u8() != ROUTER_SOLICITATION {
        return Err(Silence::NotSolicitation);
    }
    if icmp.code_u8() != 0 {
        return Err(Silence::BadIcmpv6);
    }
    if !icmp.is_checksum_valid(header.source(), header.destination()) {
        return Err(Silence::BadChecksum);
    }
    let (source, destination) = (header.source_addr(), header.destination_addr());
    if source.is_multicast() {
        return Err(Silence::BadSource);
    }
    check_options(payload.payload.get(FIXED..).unwrap_or_default(), source)?;
    let client = adverts.first().ok_or(Silence::NothingToSay)?.client;
    if ethernet.source() != client.0 {
        return Err(Silence::OtherClient);
    }
    if !destination.is_multicast() && !adverts.iter().any(|advert| advert.router == destination) {
        return Err(Silence::OtherDestination);
    }
    Ok(())
}

fn check_options(mut rest: &[u8], source: Ipv6Addr) -> Result<(), Silence> {
    while let Some((&kind, after)) = rest.split_first() {
        // In units of 8 bytes, type and length included.
        let units = *after.first().ok_or(Silence::BadOption)?;
        if units == 0 || (kind == SOURCE_LINK_LAYER_ADDRESS && source.is_unspecified()) {
            return Err(Silence::BadOption);
        }
        let (_, next) =
            rest.split_at_checked(usize::from(units).saturating_mul(8)).ok_or(Silence::BadOption)?;
        rest = next;
    }
    Ok(())
}
