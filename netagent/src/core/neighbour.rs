// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour discovery by hand: the frames that ask, and what is heard of the answers.

use std::net::Ipv6Addr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket};
use netagent_common::{
    address::Mac,
    wire::icmpv6::{NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION},
};

use super::ids::MacAddr;

/// RFC 4443, section 4.
const ECHO_REPLY: u8 = 129;
/// Options of RFC 4861, section 4.6.1, each of one unit of 8 bytes.
const SOURCE_LINK_LAYER_ADDRESS: [u8; 2] = [1, 1];
const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
/// RFC 4861, section 7.1: neighbour discovery from behind a router is not believed.
const HOP_LIMIT: u8 = 255;
/// ff02::2 and its Ethernet address (RFC 4291, section 2.7.1; RFC 2464, section 7).
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const ALL_ROUTERS_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 2];

/// An answer on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A neighbour advertisement.
    Neighbour {
        /// Whose MAC it tells.
        target: Ipv6Addr,
        /// The MAC; the sender's where the message names none.
        mac: MacAddr,
    },
    /// An echo reply.
    Echo {
        /// Who sent it.
        from: Ipv6Addr,
        /// The sender's MAC.
        mac: MacAddr,
    },
}

/// The frame of a neighbour solicitation: who has `target`?
pub fn solicitation(mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    // RFC 4291, section 2.7.1, and RFC 2464, section 7: the group of those whose address ends so.
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let mut body = target.octets().to_vec();
    body.extend(SOURCE_LINK_LAYER_ADDRESS);
    body.extend(mac.0);
    let builder = PacketBuilder::ethernet2(mac.0, [0x33, 0x33, 0xff, a, b, c])
        .ipv6(source.octets(), group, HOP_LIMIT)
        .icmpv6_raw(NEIGHBOUR_SOLICITATION, 0, [0; 4]);
    let mut frame = Vec::with_capacity(builder.size(body.len()));
    let written = builder.write(&mut frame, &body);
    debug_assert!(written.is_ok(), "a vector takes every byte");
    frame
}

/// The frame of an echo request to all routers of the link. Each answers it from an address of its own, a link-local one
/// when `source` is link-local (RFC 6724, section 5, rule 2).
pub fn call_to_routers(mac: MacAddr, source: Ipv6Addr) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac.0, ALL_ROUTERS_MAC)
        .ipv6(source.octets(), ALL_ROUTERS, HOP_LIMIT)
        .icmpv6_echo_request(0, 0);
    let mut frame = Vec::with_capacity(builder.size(0));
    let written = builder.write(&mut frame, &[]);
    debug_assert!(written.is_ok(), "a vector takes every byte");
    frame
}

/// What a frame says, `None` when it is another one than the two kinds of answers.
pub fn hear(frame: &[u8]) -> Option<Heard> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { return None };
    let sender = MacAddr(*frame.get(6..)?.first_chunk()?);
    let message = ip.payload().payload;
    match *message.first()? {
        NEIGHBOUR_ADVERTISEMENT if ip.header().hop_limit() == HOP_LIMIT => {
            let target = Ipv6Addr::from(*message.get(8..)?.first_chunk::<16>()?);
            let mac = target_mac(message.get(24..)?).unwrap_or(sender);
            Some(Heard::Neighbour { target, mac })
        }
        ECHO_REPLY => Some(Heard::Echo { from: ip.header().source_addr(), mac: sender }),
        _ => None,
    }
}

/// The MAC of a target link-layer address option.
fn target_mac(mut options: &[u8]) -> Option<MacAddr> {
    loop {
        let (head, value) = options.split_first_chunk::<2>()?;
        if *head == TARGET_LINK_LAYER_ADDRESS {
            return value.first_chunk().copied().map(MacAddr);
        }
        let length = usize::from(head[1]) * 8;
        options = options.get(length..).filter(|_| length > 0)?;
    }
}

/// The link-local address that a station forms from its MAC (RFC 4291, appendix A).
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    Mac::new(mac.0).link_local().octets().into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ASKER: MacAddr = MacAddr([0x0a, 0x58, 0, 0, 0, 5]);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// An answer of a station with this MAC.
    pub(crate) fn advertisement(mac: MacAddr, target: Ipv6Addr, option: Option<MacAddr>) -> Vec<u8> {
        let mut body = target.octets().to_vec();
        if let Some(mac) = option {
            body.extend(TARGET_LINK_LAYER_ADDRESS);
            body.extend(mac.0);
        }
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(mac.0, ASKER.0)
            .ipv6(target.octets(), ip("fd00::9").octets(), HOP_LIMIT)
            .icmpv6_raw(NEIGHBOUR_ADVERTISEMENT, 0, [0x60, 0, 0, 0])
            .write(&mut frame, &body)
            .unwrap();
        frame
    }

    pub(crate) fn echo_reply(mac: MacAddr, from: Ipv6Addr) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(mac.0, ASKER.0)
            .ipv6(from.octets(), link_local(ASKER).octets(), 64)
            .icmpv6_echo_reply(0, 0)
            .write(&mut frame, &[])
            .unwrap();
        frame
    }

    #[test]
    fn a_solicitation_is_rfc_4861_s() {
        let frame = solicitation(ASKER, ip("fd00::5"), ip("fd00::12:3456"));
        assert_eq!(frame[..14], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56, 0x0a, 0x58, 0, 0, 0, 5, 0x86, 0xdd]);
        assert_eq!(frame[14 + 7], 255);
        assert_eq!(frame[14 + 24..54], ip("ff02::1:ff12:3456").octets());
        assert_eq!(frame[54..56], [135, 0]);
        assert_eq!(frame[62..78], ip("fd00::12:3456").octets());
        assert_eq!(frame[78..], [1, 1, 0x0a, 0x58, 0, 0, 0, 5]);
        assert_eq!(hear(&frame), None);
    }

    #[test]
    fn an_advertisement_tells_the_target_s_mac_or_else_its_sender_s() {
        let (station, other) = (MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 8]));
        let target = ip("fd00::1");
        let heard = |option| hear(&advertisement(station, target, option));
        assert_eq!(heard(None), Some(Heard::Neighbour { target, mac: station }));
        assert_eq!(heard(Some(other)), Some(Heard::Neighbour { target, mac: other }));
        let mut routed = advertisement(station, target, None);
        routed[14 + 7] = 254;
        assert_eq!(hear(&routed), None);
    }

    #[test]
    fn whatever_is_cut_or_another_s_says_nothing() {
        let whole = advertisement(ASKER, ip("fd00::1"), Some(ASKER));
        for end in 0..whole.len() {
            assert_eq!(hear(&whole[..end]), None, "{end}");
        }
        assert_eq!(hear(&call_to_routers(ASKER, link_local(ASKER))), None);
        // Options of no length must not keep the reader for ever.
        let mut endless = whole;
        endless[78..].fill(0);
        assert_eq!(hear(&endless), Some(Heard::Neighbour { target: ip("fd00::1"), mac: ASKER }));
    }

    #[test]
    fn an_echo_tells_who_answered() {
        let (mac, from) = (MacAddr([2, 0, 0, 0, 0, 7]), ip("fe80::7"));
        assert_eq!(hear(&echo_reply(mac, from)), Some(Heard::Echo { from, mac }));
    }
}
