// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short way for what nearly all frames of a guest are: untagged TCP or UDP from the port's first address.
//!
//! It only ever says yes, and only where [`from_vm`](super::from_vm) would forward the frame as it is: the rules stand
//! there, and the tests hold this to them on every vector and on frames that nobody chose. Each field is read and compared
//! once, in about a third of the instructions.

use super::{super::Meta, TCP_HEADER};
use crate::{
    address::{Mac, V4},
    maps::Port,
    packet::{Header, Packet},
    wire::{eth, ipv4, ipv6, udp},
};

/// From the Ethernet header to the ports, over IPv4 without options.
const OVER_IPV4: usize = eth::HEADER + ipv4::HEADER + udp::HEADER;
/// The same over IPv6 without extension headers.
const OVER_IPV6: usize = eth::HEADER + ipv6::HEADER + udp::HEADER;

/// Whether the frame keeps to all rules at first sight, and leaves without a change. `false` decides nothing.
#[inline(always)]
pub fn is_plain<P: Packet + ?Sized>(packet: &P, meta: Meta, port: &Port) -> bool {
    let unchanged = port.guest_mac == port.pod_mac;
    // What is shorter than its own header wraps around to what no link carries.
    let bytes = (meta.len as usize).wrapping_sub(eth::HEADER);
    if !unchanged || meta.gso_size != 0 || !meta.tag.is_none() || bytes > port.mtu as usize {
        return false;
    }
    let Some(frame) = packet.header::<OVER_IPV4>(0) else { return false };
    // One word holds the source and, behind it, the EtherType.
    let word = frame.u64::<{ eth::SOURCE }>();
    if Mac::first_of(word) != port.guest_mac {
        return false;
    }
    let [.., high, low] = word.to_ne_bytes();
    match u16::from_be_bytes([high, low]) {
        eth::IPV4 => over_ipv4(frame, bytes, port),
        eth::IPV6 => packet.header::<OVER_IPV6>(0).is_some_and(|frame| over_ipv6(frame, bytes, port)),
        _ => false,
    }
}

#[inline(always)]
fn over_ipv4(frame: impl Header<OVER_IPV4>, bytes: usize, port: &Port) -> bool {
    // A later fragment may pass with any ports, so it does not matter that what is read as ports may be none.
    let [first, _, high, low] = frame.u32::<14>().to_ne_bytes();
    let total = u16::from_be_bytes([high, low]) as usize;
    let source = frame.v4::<26>();
    // Version 4, and five words of header.
    first == 0x45
        && total <= bytes
        && source == port.ipv4[0]
        && source != V4::UNSPECIFIED
        && match frame.u8::<23>() {
            ipv4::TCP => total >= ipv4::HEADER,
            ipv4::UDP => {
                let to = frame.be16::<36>();
                total >= ipv4::HEADER + udp::HEADER && to != udp::DHCPV4_SERVER && to != udp::DHCPV4_CLIENT
            }
            _ => false,
        }
}

#[inline(always)]
fn over_ipv6(frame: impl Header<OVER_IPV6>, bytes: usize, port: &Port) -> bool {
    let [first, .., high, low, next, _] = frame.u64::<14>().to_ne_bytes();
    let payload = u16::from_be_bytes([high, low]) as usize;
    let source = frame.v6::<22, 30>();
    first & 0xf0 == 0x60
        && payload + ipv6::HEADER <= bytes
        && source.is(port.ipv6[0])
        && !source.is_unspecified()
        && match next {
            ipv6::TCP => payload >= TCP_HEADER,
            ipv6::UDP => {
                let to = frame.be16::<56>();
                payload >= udp::HEADER && to != udp::DHCPV6_SERVER && to != udp::DHCPV6_CLIENT
            }
            _ => false,
        }
}
