// SPDX-License-Identifier: MIT OR Apache-2.0
//! What became of a guest's frame, in words that counters and logs share.

use std::net::Ipv4Addr;

/// What [`answer`](super::answer) made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this frame to the guest.
    Reply(Reply),
    /// The guest told something that wants no reply.
    Event(Event),
    /// No reply, and why.
    Silent(Silence),
}

/// A reply that is ready for the tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the guest sent.
    pub to: MessageType,
    /// What it gets: offer, ack or nak.
    pub message: MessageType,
    /// The address the guest asked for or said it has, if any: for a nak, the wrong one.
    pub asked: Option<Ipv4Addr>,
    /// The Ethernet frame, without frame check sequence, all checksums complete.
    pub frame: Vec<u8>,
    /// Codes of options that the guest was due and that did not fit its message size, the most important first.
    pub left_out: Vec<u8>,
}

/// What a guest tells the server without asking for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// DHCPDECLINE: the guest found the address in use by somebody else. It is served again when it asks again.
    Declined {
        /// The address it declines (option 50).
        address: Option<Ipv4Addr>,
    },
    /// DHCPRELEASE: the guest gave the address back, as at an orderly shutdown.
    Released {
        /// The address it gives back (`ciaddr`).
        address: Ipv4Addr,
    },
}

impl Event {
    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declined { .. } => MessageType::Decline.as_str(),
            Self::Released { .. } => MessageType::Release.as_str(),
        }
    }
}

/// Why a frame got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// Not IPv4 and UDP to port 67.
    NotDhcp,
    /// The IPv4 header is cut short, contradicts the frame's length, or its checksum is wrong.
    BadIpv4,
    /// A fragment. No DHCP client sends any, and there is nothing here that reassembles.
    Fragment,
    /// The UDP length contradicts the IPv4 length.
    BadUdp,
    /// Sent to an address that is neither the server's nor 255.255.255.255, and no renewal.
    OtherDestination,
    /// Not a BOOTP request of an Ethernet client with the DHCP cookie, or of a length no client sends.
    BadBootp,
    /// Came through a relay (`giaddr`): the only client is on the link.
    Relayed,
    /// `chaddr` is not the port's guest.
    OtherClient,
    /// No message type (plain BOOTP), an unknown one, or one that only servers send.
    UnexpectedType,
    /// An option on which the answer depends has a length that it cannot have.
    BadOption,
    /// The guest chose another server (option 54).
    OtherServer,
    /// A DHCPREQUEST that names no address, neither in option 50 nor in `ciaddr`.
    NoAddress,
    /// The reply is larger than an IPv4 datagram can be.
    Oversized,
}

impl Silence {
    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotDhcp => "not_dhcp",
            Self::BadIpv4 => "bad_ipv4",
            Self::Fragment => "fragment",
            Self::BadUdp => "bad_udp",
            Self::OtherDestination => "other_destination",
            Self::BadBootp => "bad_bootp",
            Self::Relayed => "relayed",
            Self::OtherClient => "other_client",
            Self::UnexpectedType => "unexpected_type",
            Self::BadOption => "bad_option",
            Self::OtherServer => "other_server",
            Self::NoAddress => "no_address",
            Self::Oversized => "oversized",
        }
    }
}

/// DHCP message type (option 53; RFC 2132, 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// The client looks for servers.
    Discover = 1,
    /// The server's answer to it.
    Offer = 2,
    /// The client selects, checks after a reboot, renews or rebinds an address.
    Request = 3,
    /// The client finds the address in use.
    Decline = 4,
    /// Here is the address, or, to an inform, the parameters.
    Ack = 5,
    /// The address is not the client's.
    Nak = 6,
    /// The client gives the address back.
    Release = 7,
    /// The client has an address and asks for the other parameters.
    Inform = 8,
}

impl MessageType {
    /// The type with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }

    /// The value of option 53.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Offer => "offer",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Ack => "ack",
            Self::Nak => "nak",
            Self::Release => "release",
            Self::Inform => "inform",
        }
    }
}
