// SPDX-License-Identifier: MIT OR Apache-2.0
//! The frames of the load: UDP over IPv4.

use std::net::Ipv4Addr;

/// An Ethernet address.
pub(in crate::bench) type Mac = [u8; 6];

/// Ethernet, IPv4 and UDP headers.
pub(in crate::bench) const HEADERS: usize = ETHERNET + IPV4 + UDP;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const ETH_P_IP: [u8; 2] = [0x08, 0x00];
const IPPROTO_UDP: u8 = 17;
/// Nobody serves it.
const PORT: u16 = 9;

/// A datagram of `size` bytes with the Ethernet header and without the check sequence, at least the headers.
pub(in crate::bench) fn udp(
    source_mac: Mac,
    destination_mac: Mac,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    size: usize,
) -> Vec<u8> {
    let size = size.max(HEADERS);
    let mut frame = Vec::with_capacity(size);
    frame.extend_from_slice(&destination_mac);
    frame.extend_from_slice(&source_mac);
    frame.extend_from_slice(&ETH_P_IP);
    frame.extend_from_slice(&ipv4_header(source, destination, size - ETHERNET));
    frame.extend_from_slice(&PORT.to_be_bytes());
    frame.extend_from_slice(&PORT.to_be_bytes());
    frame.extend_from_slice(&length(size - ETHERNET - IPV4));
    // No checksum: IPv4 allows that (RFC 768), and nobody on the path computes one.
    frame.extend_from_slice(&[0, 0]);
    frame.resize(size, 0);
    frame
}

/// Whether `frame` is one of ours. The pod's own chatter (ND, MLD) is IPv6.
pub(in crate::bench) fn is_ours(frame: &[u8]) -> bool {
    frame.get(ETHERNET - 2..ETHERNET) == Some(&ETH_P_IP)
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, total: usize) -> [u8; IPV4] {
    let mut header = [0_u8; IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length(total));
    header[8] = 64;
    header[9] = IPPROTO_UDP;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let checksum = internet_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Frames of the bench are far below 64 KiB.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// RFC 1071, for an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_checksum_agree() {
        for size in [64, 1500] {
            let frame = udp([2; 6], [4; 6], Ipv4Addr::new(10, 88, 0, 5), Ipv4Addr::new(10, 88, 0, 1), size);
            assert_eq!(frame.len(), size);
            assert!(is_ours(&frame));
            assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), size - 14);
            assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), size - 34);
            assert_eq!(internet_checksum(&frame[14..34]), 0, "a header with its checksum sums up to nothing");
        }
    }
}
