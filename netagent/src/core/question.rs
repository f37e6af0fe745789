// SPDX-License-Identifier: MIT OR Apache-2.0
//! The question of the self-test: who has the gateway's address? Asked as the guest would, in ARP or neighbour
//! discovery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacket, NetSlice, PacketBuilder, SlicedPacket};

use super::{
    guest::Guest,
    ids::MacAddr,
    neighbour::{self, Heard},
};

const BROADCAST: [u8; 6] = [0xff; 6];

/// A question of the guest for the gateway's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The guest's MAC.
    mac: MacAddr,
    /// Both ends, of one family.
    ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    V4 { guest: Ipv4Addr, gateway: Ipv4Addr },
    V6 { guest: Ipv6Addr, gateway: Ipv6Addr },
}

impl Question {
    /// What the guest can ask for: the IPv4 gateway, else the IPv6 one; nothing without an address in its family.
    pub fn of(guest: &Guest) -> Option<Self> {
        let v4 = guest.ipv4().zip(guest.ipv4_gateway());
        let v6 = || guest.ipv6().zip(guest.ipv6_gateway());
        let ends = match v4 {
            Some((address, gateway)) => Ends::V4 { guest: address.addr(), gateway },
            None => v6().map(|(address, gateway)| Ends::V6 { guest: address.addr(), gateway })?,
        };
        Some(Self { mac: guest.mac, ends })
    }

    /// Who is asked for.
    pub fn gateway(&self) -> IpAddr {
        match self.ends {
            Ends::V4 { gateway, .. } => gateway.into(),
            Ends::V6 { gateway, .. } => gateway.into(),
        }
    }

    /// The frame, from its Ethernet header on.
    pub fn frame(&self) -> Vec<u8> {
        match self.ends {
            Ends::V4 { guest, gateway } => {
                let operation = ArpOperation::REQUEST;
                let arp = ArpEthIpv4Packet {
                    operation,
                    sender_mac: self.mac.0,
                    sender_ipv4: guest.octets(),
                    target_mac: [0; 6],
                    target_ipv4: gateway.octets(),
                };
                let mut frame = Vec::with_capacity(42);
                let builder = PacketBuilder::ethernet2(self.mac.0, BROADCAST).arp(ArpPacket::from(arp));
                let written = builder.write(&mut frame);
                debug_assert!(written.is_ok(), "a vector takes every byte");
                frame
            }
            Ends::V6 { guest, gateway } => neighbour::solicitation(self.mac, guest, gateway),
        }
    }

    /// Whether a frame that came out of the tap is the gateway's answer.
    pub fn is_answered_by(&self, frame: &[u8]) -> bool {
        match self.ends {
            Ends::V4 { gateway, .. } => {
                let packet = SlicedPacket::from_ethernet(frame);
                let net = packet.as_ref().ok().and_then(|packet| packet.net.as_ref());
                matches!(net, Some(NetSlice::Arp(arp)) if arp.operation() == ArpOperation::REPLY
                    && arp.sender_protocol_addr() == gateway.octets())
            }
            Ends::V6 { gateway, .. } => {
                matches!(neighbour::hear(frame), Some(Heard::Neighbour { target, .. }) if target == gateway)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use netagent_common::{
        address::V6,
        policy::{Meta, Verdict, from_vm},
    };

    use super::*;
    use crate::core::desired::tests::desired;

    fn v4() -> Question {
        Question::of(&desired().guest).unwrap()
    }

    fn v6() -> Question {
        let ends = Ends::V6 { guest: "fd00::9".parse().unwrap(), gateway: "fe80::1".parse().unwrap() };
        Question { ends, ..v4() }
    }

    #[test]
    fn the_guard_lets_the_question_pass() {
        for question in [v4(), v6()] {
            let mut frame = question.frame();
            let meta = Meta { len: frame.len() as u32, ..Meta::default() };
            let verdict = from_vm(frame.as_mut_slice(), meta, &desired().entry(7, false), || V6::UNSPECIFIED);
            assert_eq!(verdict, Verdict::Forward, "{question:?}");
        }
    }

    #[test]
    fn only_the_gateway_s_own_answer_counts() {
        let answer = |operation, sender_ipv4| {
            let mut frame = Vec::new();
            let arp = ArpEthIpv4Packet {
                operation,
                sender_mac: [2, 0, 0, 0, 0, 7],
                sender_ipv4,
                target_mac: v4().mac.0,
                target_ipv4: [10, 244, 0, 9],
            };
            let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 7], v4().mac.0);
            builder.arp(ArpPacket::from(arp)).write(&mut frame).unwrap();
            frame
        };
        assert!(v4().is_answered_by(&answer(ArpOperation::REPLY, [10, 244, 0, 1])));
        assert!(!v4().is_answered_by(&answer(ArpOperation::REPLY, [10, 244, 0, 2])));
        assert!(!v4().is_answered_by(&answer(ArpOperation::REQUEST, [10, 244, 0, 1])));
        assert!(!v6().is_answered_by(&answer(ArpOperation::REPLY, [10, 244, 0, 1])));
        assert!(!v4().is_answered_by(&v4().frame()) && !v4().is_answered_by(&[0; 9]));

        let advertisement = |of: &str| {
            neighbour::tests::advertisement(MacAddr([2, 0, 0, 0, 0, 7]), of.parse().unwrap(), None)
        };
        assert!(v6().is_answered_by(&advertisement("fe80::1")));
        assert!(!v6().is_answered_by(&advertisement("fe80::2")) && !v6().is_answered_by(&v6().frame()));
    }

    #[test]
    fn a_guest_without_a_gateway_has_nothing_to_ask() {
        let mut guest = desired().guest;
        assert_eq!(v4().gateway().to_string(), "10.244.0.1");
        guest.routes.retain(|route| route.gateway.is_none());
        assert_eq!(Question::of(&guest), None);
    }
}
