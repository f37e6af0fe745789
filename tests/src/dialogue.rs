// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who said what by DHCP, read from frames by code of its own: message types, and the client's state at a request.

use std::{fmt, net::Ipv4Addr};

/// Where the options begin: after the fixed fields and the magic cookie (RFC 2131, figure 1).
const OPTIONS: usize = 240;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_ID: u8 = 54;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A REQUEST, by what it is for.
    Request(State),
    /// Another DHCPv4 message, by its number in option 53.
    V4(u8),
    /// A DHCPv6 message, by its number.
    V6(u8),
    /// A router solicitation.
    Solicitation,
    /// A router advertisement.
    Advertisement,
}

/// What a REQUEST is for: RFC 2131, table 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To take an offer.
    Selecting,
    /// To verify an address it had before.
    InitReboot,
    /// To extend its lease, from the server that it has it from.
    Renewing,
    /// To extend its lease, from any server.
    Rebinding,
}

impl Message {
    /// Asks for any server.
    pub const DISCOVER: Self = Self::V4(1);
    /// Offers.
    pub const OFFER: Self = Self::V4(2);
    /// Grants.
    pub const ACK: Self = Self::V4(5);
    /// Refuses.
    pub const NAK: Self = Self::V4(6);
    /// Gives back.
    pub const RELEASE: Self = Self::V4(7);
    /// Looks for servers (this and the following: RFC 8415, section 7.3).
    pub const SOLICIT: Self = Self::V6(1);
    /// Asks whether its addresses still fit the link.
    pub const CONFIRM: Self = Self::V6(4);
    /// Extends its lease, with the server that it has it from.
    pub const RENEW: Self = Self::V6(5);
    /// Extends its lease, with any server.
    pub const REBIND: Self = Self::V6(6);
    /// Answers all but a SOLICIT.
    pub const REPLY: Self = Self::V6(7);
    /// Gives back.
    pub const RELEASE6: Self = Self::V6(8);

    /// The message in an Ethernet frame; nothing if there is none.
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        let payload = frame.get(14..)?;
        match frame.get(12..14)? {
            [0x08, 0x00] => ipv4(payload),
            [0x86, 0xdd] => ipv6(payload),
            _ => None,
        }
    }
}

fn ipv4(packet: &[u8]) -> Option<Message> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let udp = packet.get(header..).filter(|_| packet.get(9) == Some(&17))?;
    if !matches!(udp.get(..4)?, [0, 67, 0, 68] | [0, 68, 0, 67]) {
        return None;
    }
    let message = udp.get(8..)?;
    let kind = *option(message, MESSAGE_TYPE)?.first()?;
    if kind != 3 {
        return Some(Message::V4(kind));
    }
    let ciaddr: [u8; 4] = message.get(12..16)?.try_into().ok()?;
    let configured = !Ipv4Addr::from(ciaddr).is_unspecified();
    let named = option(message, SERVER_ID).is_some();
    let wanted = option(message, REQUESTED_ADDRESS).is_some();
    let broadcast = Ipv4Addr::from(destination).is_broadcast();
    Some(Message::Request(match (configured, named, wanted) {
        (false, true, true) => State::Selecting,
        (false, false, true) => State::InitReboot,
        (true, false, false) if broadcast => State::Rebinding,
        (true, false, false) => State::Renewing,
        // No state that the RFC knows.
        _ => return None,
    }))
}

fn option(message: &[u8], code: u8) -> Option<&[u8]> {
    let mut rest = message.get(OPTIONS..)?;
    loop {
        rest = match rest {
            [0, after @ ..] => after,
            [255, ..] | [] => return None,
            [found, length, after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(*length))?;
                if *found == code {
                    return Some(value);
                }
                after
            }
            [_] => return None,
        }
    }
}

fn ipv6(packet: &[u8]) -> Option<Message> {
    let payload = packet.get(40..)?;
    match packet.get(6)? {
        17 if matches!(payload.get(..4)?, [2, 34, 2, 35] | [2, 35, 2, 34]) => {
            payload.get(8).map(|kind| Message::V6(*kind))
        }
        58 => match payload.first()? {
            133 => Some(Message::Solicitation),
            134 => Some(Message::Advertisement),
            _ => None,
        },
        _ => None,
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const V4: [&str; 8] = ["DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"];
        const V6: [&str; 11] = [
            "SOLICIT",
            "ADVERTISE",
            "REQUEST6",
            "CONFIRM",
            "RENEW",
            "REBIND",
            "REPLY",
            "RELEASE6",
            "DECLINE6",
            "RECONFIGURE",
            "INFORMATION-REQUEST",
        ];
        let name = |names: &[&'static str], number: u8| {
            usize::from(number).checked_sub(1).and_then(|place| names.get(place).copied()).unwrap_or("?")
        };
        match self {
            Self::Request(State::Selecting) => f.write_str("REQUEST selecting"),
            Self::Request(State::InitReboot) => f.write_str("REQUEST init-reboot"),
            Self::Request(State::Renewing) => f.write_str("REQUEST renewing"),
            Self::Request(State::Rebinding) => f.write_str("REQUEST rebinding"),
            Self::V4(number) => f.write_str(name(&V4, *number)),
            Self::V6(number) => f.write_str(name(&V6, *number)),
            Self::Solicitation => f.write_str("RS"),
            Self::Advertisement => f.write_str("RA"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(destination: [u8; 4], ciaddr: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0]);
        frame.extend(destination);
        frame.extend([0, 68, 0, 67, 0, 0, 0, 0]);
        let mut message = vec![0; OPTIONS];
        message.splice(12..16, ciaddr);
        message.extend(options);
        message.push(255);
        frame.extend(message);
        frame
    }

    #[test]
    fn tells_the_states_of_table_4_apart() {
        let (all, none, own) = ([255; 4], [0; 4], [10, 0, 0, 5]);
        let wanted = [50, 4, 10, 0, 0, 5];
        let server = [54, 4, 10, 0, 0, 1];
        let request = [53, 1, 3];
        for (destination, ciaddr, options, state) in [
            (all, none, [&request[..], &wanted, &server].concat(), State::Selecting),
            (all, none, [&request[..], &[0], &wanted].concat(), State::InitReboot),
            ([10, 0, 0, 1], own, request.to_vec(), State::Renewing),
            (all, own, request.to_vec(), State::Rebinding),
        ] {
            let message = Message::of_frame(&frame(destination, ciaddr, &options));
            assert_eq!(message, Some(Message::Request(state)));
        }
        assert_eq!(Message::of_frame(&frame(all, own, &[53, 1, 1])), Some(Message::DISCOVER));
        assert_eq!(Message::of_frame(&frame(all, own, &[53, 9])), None, "longer than the message");
        assert_eq!(Message::of_frame(&[0; 20]), None);
    }
}
