// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet, IPv4 and UDP around a BOOTP message.

use std::net::Ipv4Addr;

use etherparse::{EtherType, Ethernet2Slice, IpNumber, Ipv4Slice, PacketBuilder, UdpSlice};

use super::outcome::Silence;
use crate::core::ids::MacAddr;

/// UDP port of servers (RFC 2131, 4.1).
const SERVER_PORT: u16 = 67;
/// UDP port of clients: replies go here whatever port the guest sent from.
const CLIENT_PORT: u16 = 68;
const TTL: u8 = 64;

/// IPv4 and UDP header of a reply: what a maximum message size (option 57) counts besides the BOOTP message.
pub(super) const IP_UDP_LEN: usize = 28;

/// What a guest sent to port 67.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    /// IPv4 destination.
    pub(super) destination: Ipv4Addr,
    /// The BOOTP message, without padding of the frame.
    pub(super) payload: &'a [u8],
}

/// Takes a guest's frame apart.
///
/// The UDP checksum is not looked at. A guest with checksum offload (virtio-net) leaves only the sum of the
/// pseudo-header in it, to be completed by hardware that a punted frame never reaches; and between a guest and its
/// tap there is no wire that could damage a byte. The checksum of the IPv4 header is never offloaded that way.
pub(super) fn parse(frame: &[u8]) -> Result<Datagram<'_>, Silence> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).map_err(|_| Silence::NotDhcp)?;
    if ethernet.ether_type() != EtherType::IPV4 {
        return Err(Silence::NotDhcp);
    }
    let ip = Ipv4Slice::from_slice(ethernet.payload_slice()).map_err(|_| Silence::BadIpv4)?;
    let header = ip.header().to_header();
    if header.header_checksum != header.calc_header_checksum() {
        return Err(Silence::BadIpv4);
    }
    if header.protocol != IpNumber::UDP {
        return Err(Silence::NotDhcp);
    }
    if header.is_fragmenting_payload() {
        return Err(Silence::Fragment);
    }
    let udp = UdpSlice::from_slice(ip.payload().payload).map_err(|_| Silence::BadUdp)?;
    // Zero means "as long as the datagram" to etherparse (a jumbogram), which IPv4 does not have.
    if udp.length() == 0 {
        return Err(Silence::BadUdp);
    }
    if udp.destination_port() != SERVER_PORT {
        return Err(Silence::NotDhcp);
    }
    Ok(Datagram { destination: header.destination.into(), payload: udp.payload() })
}

/// Builds the frame of a reply, with complete checksums: clients that read raw frames refuse partial ones.
pub(super) fn build(
    source: (MacAddr, Ipv4Addr),
    destination: (MacAddr, Ipv4Addr),
    message: &[u8],
) -> Result<Vec<u8>, Silence> {
    let builder = PacketBuilder::ethernet2(source.0.0, destination.0.0)
        .ipv4(source.1.octets(), destination.1.octets(), TTL)
        .udp(SERVER_PORT, CLIENT_PORT);
    let mut frame = Vec::with_capacity(builder.size(message.len()));
    builder.write(&mut frame, message).map_err(|_| Silence::Oversized)?;
    Ok(frame)
}
