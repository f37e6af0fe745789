// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's message (RFC 8415, section 8), checked before anything is made of it.

use std::net::Ipv6Addr;

use super::{
    options::{self, Options},
    outcome::{MessageType, Silence},
};

/// No client sends more; what does is not worth reading.
const MAX_LEN: usize = 2047;
/// A relay's message, which has a head of its own (RFC 8415, section 9).
const RELAY_FORWARD: u8 = 12;
/// Two bytes of type and at most 128 more (RFC 8415, 11.1).
const MAX_DUID: usize = 130;

/// A client's message.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// What it wants.
    pub(super) message_type: MessageType,
    /// Transaction, echoed.
    pub(super) xid: [u8; 3],
    /// The client's DUID, to be echoed.
    pub(super) client_id: Option<&'a [u8]>,
    /// The DUID of the server that the client means.
    pub(super) server_id: Option<&'a [u8]>,
    /// Identity associations, in their order.
    pub(super) associations: Vec<Association>,
    /// The codes of options that the client asks for. `None`: it leaves the choice to the server.
    pub(super) requested: Option<Vec<u16>>,
    /// Whether a solicit is to be answered with the addresses at once.
    pub(super) rapid_commit: bool,
}

/// An identity association: what a client wants addresses or prefixes for.
#[derive(Debug)]
pub(super) struct Association {
    /// What it is for.
    pub(super) kind: Kind,
    /// The client's number for it, echoed.
    pub(super) iaid: [u8; 4],
    /// The addresses that the client has or would like.
    pub(super) addresses: Vec<Ipv6Addr>,
}

/// What an association is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IA_NA: addresses.
    Addresses,
    /// IA_TA: addresses that change by the hour.
    TemporaryAddresses,
    /// IA_PD: prefixes to delegate further.
    Prefixes,
}

impl<'a> Request<'a> {
    /// Reads the whole message.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Silence> {
        if message.len() > MAX_LEN {
            return Err(Silence::BadMessage);
        }
        let (&[code, a, b, c], rest) = message.split_first_chunk().ok_or(Silence::BadMessage)?;
        if code == RELAY_FORWARD {
            return Err(Silence::Relayed);
        }
        let message_type = MessageType::from_code(code).ok_or(Silence::UnexpectedType)?;
        let options = Options::parse(rest)?;
        let mut associations = Vec::new();
        for (code, value) in options.iter() {
            if let Some(kind) = Kind::from_code(code) {
                associations.push(Association::parse(kind, value)?);
            }
        }
        let client_id = options.get(options::CLIENT_ID);
        if client_id.is_some_and(|id| id.is_empty() || id.len() > MAX_DUID) {
            return Err(Silence::BadOption);
        }
        Ok(Self {
            message_type,
            xid: [a, b, c],
            client_id,
            server_id: options.get(options::SERVER_ID),
            associations,
            requested: requested(options)?,
            rapid_commit: options.get(options::RAPID_COMMIT).is_some(),
        })
    }

    /// The addresses in all associations.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.associations.iter().flat_map(|a| &a.addresses).copied()
    }
}

impl Kind {
    /// What the option with this code asks for, if it is an association's.
    fn from_code(code: u16) -> Option<Self> {
        match code {
            options::IA_NA => Some(Self::Addresses),
            options::IA_TA => Some(Self::TemporaryAddresses),
            options::IA_PD => Some(Self::Prefixes),
            _ => None,
        }
    }

    /// The option's code.
    pub(super) fn code(self) -> u16 {
        match self {
            Self::Addresses => options::IA_NA,
            Self::TemporaryAddresses => options::IA_TA,
            Self::Prefixes => options::IA_PD,
        }
    }

    /// Whether T1 and T2 stand behind the number.
    pub(super) fn has_times(self) -> bool {
        self != Self::TemporaryAddresses
    }
}

impl Association {
    fn parse(kind: Kind, value: &[u8]) -> Result<Self, Silence> {
        let (iaid, mut rest) = value.split_first_chunk().ok_or(Silence::BadOption)?;
        if kind.has_times() {
            (_, rest) = rest.split_first_chunk::<8>().ok_or(Silence::BadOption)?;
        }
        let inner = Options::parse(rest)?;
        let mut addresses = Vec::new();
        if kind != Kind::Prefixes {
            for value in inner.all(options::IA_ADDRESS) {
                // Behind it two lifetimes, and options that no client has anything to say in.
                let (&address, rest) = value.split_first_chunk::<16>().ok_or(Silence::BadOption)?;
                rest.first_chunk::<8>().ok_or(Silence::BadOption)?;
                addresses.push(address.into());
            }
        }
        Ok(Self { kind, iaid: *iaid, addresses })
    }
}

/// The codes in option 6.
fn requested(options: Options<'_>) -> Result<Option<Vec<u16>>, Silence> {
    let Some(list) = options.get(options::OPTION_REQUEST) else { return Ok(None) };
    let (codes, []) = list.as_chunks::<2>() else { return Err(Silence::BadOption) };
    Ok(Some(codes.iter().map(|code| u16::from_be_bytes(*code)).collect()))
}
