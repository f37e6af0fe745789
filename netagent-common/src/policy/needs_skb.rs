// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames that are not complete in their bytes: somebody left work on them to a device, and only an skb says so.

use crate::{
    maps::Port,
    packet::{Header as _, Packet},
    wire::{eth, ipv4, ipv6},
};

/// Protocol number of SCTP.
const SCTP: u8 = 132;
/// Where TCP, UDP and SCTP have their checksums (RFC 9293, RFC 768, RFC 9260).
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
const SCTP_CHECKSUM: usize = 8;

/// Whether a frame of `len` bytes can only be forwarded with what an skb knows about it: it is to be cut into segments,
/// or its checksum is to be finished. XDP sees the bytes alone and must leave such a frame to tc.
///
/// A checksum that is to be finished holds the sum of the pseudo header until then (virtio 1.2, section 5.1.6.2;
/// include/linux/skbuff.h on CHECKSUM_PARTIAL), in SCTP zero. Of finished ones, one in 65,536 looks the same; it loses
/// nothing by the longer way.
#[inline(always)]
pub fn needs_skb<P: Packet + ?Sized>(packet: &P, len: u32, port: &Port) -> bool {
    len > port.mtu.saturating_add((eth::HEADER + eth::TAG) as u32) || is_unfinished(packet).unwrap_or(false)
}

/// `None` for what holds no checksum that could be: another protocol, a fragment, a frame that is cut.
#[inline(always)]
fn is_unfinished<P: Packet + ?Sized>(packet: &P) -> Option<bool> {
    let mut ethertype = eth::read(packet)?.ethertype;
    let mut at = eth::HEADER;
    if eth::is_tag(ethertype) {
        ethertype = packet.header::<{ eth::TAG }>(at)?.be16::<2>();
        at += eth::TAG;
    }
    match ethertype {
        eth::IPV4 => {
            let ip = ipv4::read(packet, at)?;
            if packet.header::<8>(at)?.be16::<6>() & 0x3fff != 0 {
                return None;
            }
            let sum = u64::from(ip.source.0) + u64::from(ip.destination.0);
            let length = ip.total.checked_sub(ip.header)? as u16;
            holds(packet, ip.protocol, at + ip.header, pseudo(sum, ip.protocol, length))
        }
        eth::IPV6 => {
            let ip = ipv6::read(packet, at)?;
            let (start, end) = (at + ipv6::HEADER, at + ipv6::HEADER + ip.payload);
            let upper = ipv6::upper(packet, ip.next, start, end)?;
            if upper.fragment {
                return None;
            }
            let words =
                [ip.source.network, ip.source.interface, ip.destination.network, ip.destination.interface];
            let sum = words.iter().fold(0, |sum, word| sum + (word >> 32) + (word & 0xffff_ffff));
            let length = end.wrapping_sub(upper.at) as u16;
            holds(packet, upper.protocol, upper.at, pseudo(sum, upper.protocol, length))
        }
        _ => None,
    }
}

/// The sum of a pseudo header (RFC 9293, section 3.1; RFC 8200, section 8.1), as it lies in memory: a sum of words
/// comes out swapped where the words are (RFC 1071, section 2).
#[inline(always)]
fn pseudo(addresses: u64, protocol: u8, length: u16) -> u16 {
    let sum = addresses + u64::from(u16::from(protocol).to_be()) + u64::from(length.to_be());
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[inline(always)]
fn holds<P: Packet + ?Sized>(packet: &P, protocol: u8, at: usize, pseudo: u16) -> Option<bool> {
    match protocol {
        ipv4::TCP => Some(packet.header::<2>(at + TCP_CHECKSUM)?.u16::<0>() == pseudo),
        ipv4::UDP => Some(packet.header::<2>(at + UDP_CHECKSUM)?.u16::<0>() == pseudo),
        SCTP => Some(packet.header::<4>(at + SCTP_CHECKSUM)?.u32::<0>() == 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    const ADDRESSES: [u8; 8] = [10, 88, 0, 5, 10, 88, 0, 1];

    /// A TCP, UDP or SCTP packet of 32 bytes whose checksum field holds `checksum`.
    fn ipv4(protocol: u8, at: usize, checksum: &[u8], fragment: u8) -> [u8; 66] {
        let mut frame = [0u8; 66];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[17] = 52;
        frame[20] = fragment;
        frame[23] = protocol;
        frame[26..34].copy_from_slice(&ADDRESSES);
        frame[34 + at..34 + at + checksum.len()].copy_from_slice(checksum);
        frame
    }

    /// By the book: big-endian words, one by one.
    fn by_the_book(words: &[u8]) -> [u8; 2] {
        let mut sum: u32 = words.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_be_bytes()
    }

    fn unfinished(frame: &[u8]) -> bool {
        let mut port = Port::zeroed();
        port.mtu = 1500;
        needs_skb(frame, frame.len() as u32, &port)
    }

    #[test]
    fn the_sum_of_the_pseudo_header_is_no_checksum() {
        for (protocol, at) in [(6, TCP_CHECKSUM), (17, UDP_CHECKSUM)] {
            let mut header = [0; 12];
            header[..8].copy_from_slice(&ADDRESSES);
            header[9] = protocol;
            header[11] = 32;
            let [high, low] = by_the_book(&header);
            assert!(unfinished(&ipv4(protocol, at, &[high, low], 0)));
            assert!(unfinished(&ipv4(protocol, at, &[high, low], 0x40)), "don't fragment is no fragment");
            assert!(!unfinished(&ipv4(protocol, at, &[high, low ^ 1], 0)));
            assert!(!unfinished(&ipv4(protocol, at, &[0, 0], 0)), "UDP without a checksum");
            assert!(
                !unfinished(&ipv4(protocol, at, &[high, low], 0x20)),
                "a fragment's is of the whole packet"
            );
            let mut tagged = [0u8; 70];
            let frame = ipv4(protocol, at, &[high, low], 0);
            tagged[..12].copy_from_slice(&frame[..12]);
            tagged[12..16].copy_from_slice(&[0x81, 0, 0, 5]);
            tagged[16..].copy_from_slice(&frame[12..]);
            assert!(unfinished(&tagged));
        }
        assert!(unfinished(&ipv4(SCTP, SCTP_CHECKSUM, &[0; 4], 0)));
        assert!(!unfinished(&ipv4(SCTP, SCTP_CHECKSUM, &[0, 0, 0, 1], 0)));
        assert!(!unfinished(&ipv4(1, 2, &[0, 0], 0)));
    }

    #[test]
    fn extension_headers_are_not_in_the_pseudo_header_s_length() {
        let mut frame = [0u8; 14 + 40 + 8 + 20];
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[14] = 0x60;
        frame[19] = 28;
        frame[20] = 60;
        for (at, byte) in frame[22..54].iter_mut().enumerate() {
            *byte = at as u8 ^ 0xa5;
        }
        frame[54] = 6;
        let mut header = [0; 40];
        header[..32].copy_from_slice(&frame[22..54]);
        header[35] = 20;
        header[39] = 6;
        let sum = by_the_book(&header);
        frame[62 + TCP_CHECKSUM..64 + TCP_CHECKSUM].copy_from_slice(&sum);
        assert!(unfinished(&frame));
        frame[62 + TCP_CHECKSUM] ^= 1;
        assert!(!unfinished(&frame));
    }

    #[test]
    fn what_is_longer_than_the_mtu_is_to_be_cut() {
        let mut port = Port::zeroed();
        port.mtu = 1500;
        let frame = [0u8; 14];
        assert!(!needs_skb(frame.as_slice(), 1518, &port) && needs_skb(frame.as_slice(), 1519, &port));
    }
}
