// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's card without a client: messages made by hand, and all that passes, recorded.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use netagent_tests::{
    capture::Capture,
    dialogue::Message,
    packet_socket::PacketSocket,
    poll,
    stand_in::{GUEST_LINK, StandIn},
    topology::Topology,
};

use crate::scene::SOON;

pub(crate) struct Wire {
    pub(crate) capture: Capture,
    pub(crate) mac: [u8; 6],
    socket: PacketSocket,
    /// Of the last request.
    number: u8,
}

impl Wire {
    /// Of a guest with the pod's MAC.
    pub(crate) fn open(guest: &StandIn, topology: &Topology) -> Result<Self> {
        Ok(Self {
            capture: Capture::start(&guest.guest, GUEST_LINK, "udp or icmp or icmp6")?,
            mac: bytes(&topology.pod_mac()?)?,
            socket: PacketSocket::open(&guest.guest, GUEST_LINK)?,
            number: 0,
        })
    }

    /// Sends a frame and waits for one more frame that is an answer to it.
    pub(crate) fn ask(&self, frame: &[u8], what: &str, answers: impl Fn(&[u8]) -> bool) -> Result<()> {
        let count =
            || -> Result<usize> { Ok(self.capture.frames()?.iter().filter(|frame| answers(frame)).count()) };
        let before = count()?;
        self.socket.send(frame)?;
        poll::try_until(what, SOON, || Ok((count()? > before).then_some(())))
    }

    fn ask_message(&self, frame: &[u8], answer: Message) -> Result<()> {
        self.ask(frame, &answer.to_string(), |frame| Message::of_frame(frame) == Some(answer))
            .with_context(|| format!("as an answer to {:?}", Message::of_frame(frame)))
    }

    /// How often the guest was told this.
    pub(crate) fn told(&self, what: Message) -> Result<usize> {
        Ok(self.capture.frames()?.iter().filter(|frame| Message::of_frame(frame) == Some(what)).count())
    }

    /// Sends a DHCPv4 message.
    pub(crate) fn v4(
        &mut self,
        ciaddr: [u8; 4],
        flags: [u8; 2],
        options: &[&[u8]],
        answer: Message,
    ) -> Result<()> {
        self.number += 1;
        let mut message = vec![1, 1, 6, 0, 0, 0, 0, self.number, 0, 0];
        message.extend(flags);
        message.extend(ciaddr);
        message.extend([0; 12]);
        message.extend(self.mac);
        message.resize(236, 0);
        message.extend([0x63, 0x82, 0x53, 0x63]);
        message.extend(options.concat());
        message.push(255);
        let builder =
            etherparse::PacketBuilder::ethernet2(self.mac, [0xff; 6]).ipv4(ciaddr, [255; 4], 64).udp(68, 67);
        let mut frame = Vec::with_capacity(builder.size(message.len()));
        builder.write(&mut frame, &message)?;
        self.ask_message(&frame, answer)
    }

    /// Sends a DHCPv6 message that asks for every option.
    pub(crate) fn v6(&mut self, kind: u8, options: &[&[u8]], answer: Message) -> Result<()> {
        self.number += 1;
        let mut message = vec![kind, 0, 0, self.number];
        // Client identifier (DUID-LL), elapsed time, and all options that one can ask for.
        message.extend([0, 1, 0, 10, 0, 3, 0, 1]);
        message.extend(self.mac);
        message.extend([0, 8, 0, 2, 0, 0, 0, 6, 0, 6, 0, 23, 0, 24, 0, 56]);
        message.extend(options.concat());
        let builder = etherparse::PacketBuilder::ethernet2(self.mac, [0x33, 0x33, 0, 1, 0, 2])
            .ipv6(self.link_local(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2).octets(), 1)
            .udp(546, 547);
        let mut frame = Vec::with_capacity(builder.size(message.len()));
        builder.write(&mut frame, &message)?;
        self.ask_message(&frame, answer)
    }

    pub(crate) fn solicit_router(&self) -> Result<()> {
        let builder = etherparse::PacketBuilder::ethernet2(self.mac, [0x33, 0x33, 0, 0, 0, 2])
            .ipv6(self.link_local(), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2).octets(), 255)
            .icmpv6(etherparse::Icmpv6Type::Unknown { type_u8: 133, code_u8: 0, bytes5to8: [0; 4] });
        let mut frame = Vec::with_capacity(builder.size(0));
        builder.write(&mut frame, &[])?;
        self.ask_message(&frame, Message::Advertisement)
    }

    /// EUI-64: RFC 4291, appendix A.
    fn link_local(&self) -> [u8; 16] {
        let [a, b, c, d, e, f] = self.mac;
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]
    }
}

/// A MAC as `ip` writes it.
pub(crate) fn bytes(mac: &str) -> Result<[u8; 6]> {
    let bytes = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<u8>, _>>()?;
    bytes.try_into().ok().context("a MAC of six bytes")
}
