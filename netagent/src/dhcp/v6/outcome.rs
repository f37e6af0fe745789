// SPDX-License-Identifier: MIT OR Apache-2.0
//! What became of a guest's frame, in words that counters and logs share.

use std::net::Ipv6Addr;

/// What [`answer`](super::answer) made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this frame to the guest.
    Reply(Reply),
    /// No reply, and why.
    Silent(Silence),
}

/// A reply that is ready for the tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the guest sent.
    pub to: MessageType,
    /// What it gets: advertise or reply.
    pub message: MessageType,
    /// What became of the request: the message's status, else that of the guest's first IA_NA, else of its first
    /// association.
    pub status: Status,
    /// What the guest told beside asking. DHCPv6 acknowledges that, so it comes with a reply.
    pub event: Option<Event>,
    /// Of the addresses that the guest named, the first that is not its own, else the first.
    pub asked: Option<Ipv6Addr>,
    /// The Ethernet frame, without frame check sequence, checksum complete.
    pub frame: Vec<u8>,
    /// Codes of options that the guest was due and that did not fit the link's MTU, the most important first.
    pub left_out: Vec<u16>,
}

/// What a guest tells the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// DECLINE: the guest found an address in use by somebody else. It is served again when it asks again.
    Declined,
    /// RELEASE: the guest gave its addresses back, as at an orderly shutdown.
    Released,
}

impl Event {
    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declined => MessageType::Decline.as_str(),
            Self::Released => MessageType::Release.as_str(),
        }
    }
}

/// Why a frame got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// Not IPv6 and UDP to port 547.
    NotDhcp,
    /// The IPv6 header or one that extends it is cut short or contradicts the frame's length.
    BadIpv6,
    /// A fragment. No DHCP client sends any, and there is nothing here that reassembles.
    Fragment,
    /// The UDP length contradicts the IPv6 length.
    BadUdp,
    /// The Ethernet source is not the port's guest.
    OtherClient,
    /// Sent to an address that is neither the server's nor ff02::1:2.
    OtherDestination,
    /// Sent from an address that is not link-local (RFC 8415, 18.2): there is no way back to it on the link.
    OtherSource,
    /// Shorter than a message's head, or longer than any client's message.
    BadMessage,
    /// A relay's message: the only client is on the link.
    Relayed,
    /// An unknown message type, or one that only servers send.
    UnexpectedType,
    /// An option that does not end within the message, or one on which the answer depends has a length that it cannot
    /// have.
    BadOption,
    /// No client identifier where there must be one (RFC 8415, section 16).
    NoClientId,
    /// No server identifier where there must be one (RFC 8415, section 16).
    NoServerId,
    /// A server identifier where there must be none (RFC 8415, section 16).
    UnexpectedServerId,
    /// The guest means another server (option 2).
    OtherServer,
    /// An association in an information-request (RFC 8415, 16.12).
    UnexpectedAssociation,
    /// Sent to the server's own address, of a type that must go to ff02::1:2 (RFC 8415, section 16).
    Unicast,
    /// A confirm without any address (RFC 8415, 18.3.3).
    NoAddress,
    /// The reply is larger than an IPv6 packet can be.
    Oversized,
}

impl Silence {
    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotDhcp => "not_dhcp",
            Self::BadIpv6 => "bad_ipv6",
            Self::Fragment => "fragment",
            Self::BadUdp => "bad_udp",
            Self::OtherClient => "other_client",
            Self::OtherDestination => "other_destination",
            Self::OtherSource => "other_source",
            Self::BadMessage => "bad_message",
            Self::Relayed => "relayed",
            Self::UnexpectedType => "unexpected_type",
            Self::BadOption => "bad_option",
            Self::NoClientId => "no_client_id",
            Self::NoServerId => "no_server_id",
            Self::UnexpectedServerId => "unexpected_server_id",
            Self::OtherServer => "other_server",
            Self::UnexpectedAssociation => "unexpected_association",
            Self::Unicast => "unicast",
            Self::NoAddress => "no_address",
            Self::Oversized => "oversized",
        }
    }
}

/// Status code (RFC 8415, 21.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// It is as the guest wants it.
    Success = 0,
    /// No address for this association.
    NoAddrsAvail = 2,
    /// There is no such association.
    NoBinding = 3,
    /// The address is not one of the pod's.
    NotOnLink = 4,
    /// The guest must send to ff02::1:2.
    UseMulticast = 5,
    /// No prefix for this association.
    NoPrefixAvail = 6,
}

impl Status {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NoAddrsAvail => "no_addrs_avail",
            Self::NoBinding => "no_binding",
            Self::NotOnLink => "not_on_link",
            Self::UseMulticast => "use_multicast",
            Self::NoPrefixAvail => "no_prefix_avail",
        }
    }
}

/// DHCPv6 message type (RFC 8415, 7.3), without those of relays and reconfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageType {
    /// The client looks for servers.
    Solicit = 1,
    /// The server's answer to it.
    Advertise = 2,
    /// The client selects.
    Request = 3,
    /// The client asks whether its addresses still fit the link, as after a reboot.
    Confirm = 4,
    /// The client wants its addresses for longer, from this server.
    Renew = 5,
    /// The same, from any server.
    Rebind = 6,
    /// The server's answer to all but a solicit, and to that with rapid commit.
    Reply = 7,
    /// The client gives its addresses back.
    Release = 8,
    /// The client finds an address in use.
    Decline = 9,
    /// The client asks for the other parameters alone.
    InformationRequest = 11,
}

impl MessageType {
    /// The type with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Solicit,
            2 => Self::Advertise,
            3 => Self::Request,
            4 => Self::Confirm,
            5 => Self::Renew,
            6 => Self::Rebind,
            7 => Self::Reply,
            8 => Self::Release,
            9 => Self::Decline,
            11 => Self::InformationRequest,
            _ => return None,
        })
    }

    /// The first byte of a message.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Solicit => "solicit",
            Self::Advertise => "advertise",
            Self::Request => "request",
            Self::Confirm => "confirm",
            Self::Renew => "renew",
            Self::Rebind => "rebind",
            Self::Reply => "reply",
            Self::Release => "release",
            Self::Decline => "decline",
            Self::InformationRequest => "information-request",
        }
    }
}
