// SPDX-License-Identifier: MIT OR Apache-2.0
//! What became of a guest's frame, in words that counters and logs share.

use std::net::Ipv6Addr;

/// What [`answer`](super::answer) made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send these frames to the guest, in this order.
    Advertise(Vec<Advertisement>),
    /// No answer, and why.
    Silent(Silence),
}

/// An advertisement that is ready for the tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The router that speaks.
    pub router: Ipv6Addr,
    /// The Ethernet frame, without frame check sequence, its checksum complete.
    pub frame: Vec<u8>,
    /// Types of the options that did not fit, one for each, the most important first.
    pub left_out: Vec<u8>,
}

/// Why a frame got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// The port has nothing to advertise: the guest has no IPv6 address.
    NothingToSay,
    /// Not an ICMPv6 router solicitation.
    NotSolicitation,
    /// The Ethernet source is not the port's guest.
    OtherClient,
    /// The IPv6 header is cut short or contradicts the frame's length.
    BadIpv6,
    /// It was forwarded by a router, or cut into fragments (RFC 4861, section 6.1.1; RFC 6980, section 5).
    NotFromLink,
    /// The source is a group.
    BadSource,
    /// Sent neither to a group nor to one of the routers.
    OtherDestination,
    /// The message is cut short or its code is not 0.
    BadIcmpv6,
    /// Its checksum is wrong. No guest leaves that of ICMPv6 to hardware.
    BadChecksum,
    /// An option without length, of a length beyond the end, or a link-layer source address of a guest that has no
    /// address.
    BadOption,
}

impl Silence {
    /// Lower-case name, stable: a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingToSay => "nothing_to_say",
            Self::NotSolicitation => "not_solicitation",
            Self::OtherClient => "other_client",
            Self::BadIpv6 => "bad_ipv6",
            Self::NotFromLink => "not_from_link",
            Self::BadSource => "bad_source",
            Self::OtherDestination => "other_destination",
            Self::BadIcmpv6 => "bad_icmpv6",
            Self::BadChecksum => "bad_checksum",
            Self::BadOption => "bad_option",
        }
    }
}
