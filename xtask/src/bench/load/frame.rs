// SPDX-License-Identifier: MIT OR Apache-2.0
//! The frames of the load: small and large UDP datagrams, and unsegmented TCP as an offloading sender hands it over.

use std::net::Ipv4Addr;

use netagent_tests::tap::VNET_HEADER;

/// An Ethernet address.
pub(in crate::bench) type Mac = [u8; 6];

/// A kind of frame. Sizes are bytes with the Ethernet header and without the check sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::bench) enum Frame {
    /// A UDP datagram, little more than headers.
    Udp64,
    /// A UDP datagram that nearly fills the MTU.
    Udp1500,
    /// TCP, 45 segments in one frame: headers in the packet's head, payload in pages.
    Tso,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Path {
    pub(in crate::bench) source_mac: Mac,
    pub(in crate::bench) destination_mac: Mac,
    pub(in crate::bench) source: Ipv4Addr,
    pub(in crate::bench) destination: Ipv4Addr,
}

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;
const ETH_P_IP: [u8; 2] = [0x08, 0x00];
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// Discard: nobody serves it.
const PORT: [u8; 2] = 9_u16.to_be_bytes();

/// Payload of a segment in an MTU of 1500.
const SEGMENT: u16 = 1460;
const SEGMENTS: usize = 44;

// `struct virtio_net_hdr`, include/uapi/linux/virtio_net.h; little endian, as on every machine that runs this.
const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;

impl Frame {
    /// All kinds, in the order of the tables.
    pub(in crate::bench) const ALL: [Self; 3] = [Self::Udp64, Self::Udp1500, Self::Tso];

    /// For people.
    pub(in crate::bench) fn title(self) -> &'static str {
        match self {
            Self::Udp64 => "64 B",
            Self::Udp1500 => "1500 B",
            Self::Tso => "64 KiB TSO",
        }
    }

    /// Its bytes from the Ethernet header on.
    pub(in crate::bench) fn bytes(self, path: Path) -> Vec<u8> {
        match self {
            Self::Udp64 => udp(path, 64),
            Self::Udp1500 => udp(path, 1500),
            Self::Tso => tcp(path, usize::from(SEGMENT) * SEGMENTS),
        }
    }

    /// The virtio header that goes before it.
    pub(in crate::bench) fn vnet_header(self) -> [u8; VNET_HEADER] {
        match self {
            // A whole packet, its checksum done.
            Self::Udp64 | Self::Udp1500 => [0; VNET_HEADER],
            Self::Tso => tso_header(),
        }
    }

    /// Whether it cannot be sent without its virtio header.
    pub(in crate::bench) fn needs_vnet_header(self) -> bool {
        self == Self::Tso
    }

    /// Frames of a slice, some hundred microseconds. Whoever takes the CPU away for a moment spoils a few slices of a
    /// sample, not the sample: its figure is that of the median slice.
    pub(in crate::bench) fn slice(self) -> u64 {
        match self {
            Self::Udp64 | Self::Udp1500 => 256,
            Self::Tso => 8,
        }
    }

    /// Frames per system call where one call can send many, so that the call is a small part of a frame's cost.
    pub(in crate::bench) fn batch(self) -> usize {
        match self {
            Self::Udp64 | Self::Udp1500 => 32,
            Self::Tso => 4,
        }
    }

    /// How many times as long as a small frame it takes, roughly: so many fewer are sent.
    pub(in crate::bench) fn weight(self) -> u64 {
        match self {
            Self::Udp64 | Self::Udp1500 => 1,
            Self::Tso => 16,
        }
    }
}

/// Whether `frame` is one of ours. The pod's own chatter (ND, MLD) is IPv6.
pub(in crate::bench) fn is_ours(frame: &[u8]) -> bool {
    frame.get(ETHERNET - 2..ETHERNET) == Some(&ETH_P_IP)
}

fn udp(path: Path, size: usize) -> Vec<u8> {
    let mut frame = ethernet_and_ipv4(path, IPPROTO_UDP, size - ETHERNET);
    frame.extend_from_slice(&PORT);
    frame.extend_from_slice(&PORT);
    frame.extend_from_slice(&length(size - ETHERNET - IPV4));
    // No checksum: IPv4 allows that (RFC 768), and nobody on the path computes one.
    frame.extend_from_slice(&[0, 0]);
    frame.resize(size, 0);
    frame
}

/// An acknowledgement with data. Its checksum is left to whoever cuts it into segments, which nobody does here.
fn tcp(path: Path, payload: usize) -> Vec<u8> {
    const ACK: u8 = 0x10;
    const WORDS: u8 = (TCP / 4) as u8;
    let total = IPV4 + TCP + payload;
    let mut frame = ethernet_and_ipv4(path, IPPROTO_TCP, total);
    frame.extend_from_slice(&PORT);
    frame.extend_from_slice(&PORT);
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&[WORDS << 4, ACK, 0xff, 0xff]);
    frame.resize(ETHERNET + total, 0);
    frame
}

fn tso_header() -> [u8; VNET_HEADER] {
    const HEADERS: u16 = (ETHERNET + IPV4 + TCP) as u16;
    const CSUM_START: u16 = (ETHERNET + IPV4) as u16;
    const CSUM_OFFSET: u16 = 16;
    let mut header = [0; VNET_HEADER];
    header[0] = NEEDS_CSUM;
    header[1] = GSO_TCPV4;
    header[2..4].copy_from_slice(&HEADERS.to_le_bytes());
    header[4..6].copy_from_slice(&SEGMENT.to_le_bytes());
    header[6..8].copy_from_slice(&CSUM_START.to_le_bytes());
    header[8..10].copy_from_slice(&CSUM_OFFSET.to_le_bytes());
    header
}

fn ethernet_and_ipv4(path: Path, protocol: u8, total: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + total);
    frame.extend_from_slice(&path.destination_mac);
    frame.extend_from_slice(&path.source_mac);
    frame.extend_from_slice(&ETH_P_IP);
    let mut header = [0_u8; IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length(total));
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&path.source.octets());
    header[16..20].copy_from_slice(&path.destination.octets());
    let checksum = internet_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&header);
    frame
}

/// The bench's frames are shorter than 64 KiB.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// RFC 1071, for an even number of bytes.
pub(in crate::bench) fn internet_checksum(bytes: &[u8]) -> u16 {
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
    fn lengths_and_checksums_agree() {
        let path = Path {
            source_mac: [2; 6],
            destination_mac: [4; 6],
            source: Ipv4Addr::new(10, 88, 0, 5),
            destination: Ipv4Addr::new(10, 88, 0, 1),
        };
        for (kind, size, protocol) in [
            (Frame::Udp64, 64, IPPROTO_UDP),
            (Frame::Udp1500, 1500, IPPROTO_UDP),
            (Frame::Tso, 54 + 1460 * 44, IPPROTO_TCP),
        ] {
            let frame = kind.bytes(path);
            assert_eq!(frame.len(), size, "{kind:?}");
            assert!(is_ours(&frame));
            assert_eq!(frame[23], protocol);
            assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), size - 14, "{kind:?}");
            assert_eq!(internet_checksum(&frame[14..34]), 0, "a header with its checksum sums up to nothing");
        }
        let udp = Frame::Udp1500.bytes(path);
        assert_eq!(u16::from_be_bytes([udp[38], udp[39]]), 1500 - 34);
    }

    #[test]
    fn only_tso_carries_a_virtio_header_that_says_something() {
        assert_eq!(Frame::Udp64.vnet_header(), [0; VNET_HEADER]);
        assert_eq!(Frame::Tso.vnet_header(), [1, 1, 54, 0, 0xb4, 0x05, 34, 0, 16, 0]);
    }
}
