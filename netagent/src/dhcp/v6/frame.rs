// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet, IPv6 and UDP around a DHCPv6 message.

use std::net::Ipv6Addr;

use etherparse::{EtherType, Ethernet2Slice, IpNumber, Ipv6Slice, PacketBuilder, UdpSlice};

use super::outcome::Silence;
use crate::core::ids::MacAddr;

/// UDP port of servers (RFC 8415, 7.2).
const SERVER_PORT: u16 = 547;
/// UDP port of clients: replies go here whatever port the guest sent from.
const CLIENT_PORT: u16 = 546;
const HOP_LIMIT: u8 = 64;

/// IPv6 and UDP header of a reply.
pub(super) const IP_UDP_LEN: usize = 48;

/// What a guest sent to port 547.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    /// Ethernet source.
    pub(super) sender: MacAddr,
    /// IPv6 source.
    pub(super) source: Ipv6Addr,
    /// IPv6 destination.
    pub(super) destination: Ipv6Addr,
    /// The DHCPv6 message, without padding of the frame.
    pub(super) payload: &'a [u8],
}

/// Takes a guest's frame apart.
///
/// The UDP checksum is not looked at: a guest with checksum offload leaves it incomplete, as with DHCPv4.
pub(super) fn parse(frame: &[u8]) -> Result<Datagram<'_>, Silence> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).map_err(|_| Silence::NotDhcp)?;
    if ethernet.ether_type() != EtherType::IPV6 {
        return Err(Silence::NotDhcp);
    }
    let ip = Ipv6Slice::from_slice(ethernet.payload_slice()).map_err(|_| Silence::BadIpv6)?;
    // Zero means "as long as the frame" to etherparse (a jumbogram), which Ethernet does not have.
    if ip.header().payload_length() == 0 {
        return Err(Silence::BadIpv6);
    }
    let payload = ip.payload();
    if payload.fragmented {
        return Err(Silence::Fragment);
    }
    if payload.ip_number != IpNumber::UDP {
        return Err(Silence::NotDhcp);
    }
    let udp = UdpSlice::from_slice(payload.payload).map_err(|_| Silence::BadUdp)?;
    // The same of UDP.
    if udp.length() == 0 {
        return Err(Silence::BadUdp);
    }
    if udp.destination_port() != SERVER_PORT {
        return Err(Silence::NotDhcp);
    }
    Ok(Datagram {
        sender: MacAddr(ethernet.source()),
        source: ip.header().source_addr(),
        destination: ip.header().destination_addr(),
        payload: udp.payload(),
    })
}

/// Builds the frame of a reply, with the complete checksum that IPv6 demands.
pub(super) fn build(
    source: (MacAddr, Ipv6Addr),
    destination: (MacAddr, Ipv6Addr),
    message: &[u8],
) -> Result<Vec<u8>, Silence> {
    let builder = PacketBuilder::ethernet2(source.0.0, destination.0.0)
        .ipv6(source.1.octets(), destination.1.octets(), HOP_LIMIT)
        .udp(SERVER_PORT, CLIENT_PORT);
    let mut frame = Vec::with_capacity(builder.size(message.len()));
    builder.write(&mut frame, message).map_err(|_| Silence::Oversized)?;
    Ok(frame)
}
