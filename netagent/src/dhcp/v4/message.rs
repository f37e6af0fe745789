// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's BOOTP message (RFC 2131, section 2), checked before anything is made of it.

use std::net::Ipv4Addr;

use super::{
    options::{self, Options},
    outcome::{MessageType, Silence},
};
use crate::core::ids::MacAddr;

pub(super) const OP_REQUEST: u8 = 1;
pub(super) const OP_REPLY: u8 = 2;
pub(super) const HTYPE_ETHERNET: u8 = 1;
pub(super) const HLEN_ETHERNET: u8 = 6;
/// First bytes of the options field (RFC 2132, section 2).
pub(super) const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Fixed fields and cookie; the message is at least as long.
pub(super) const FIXED_LEN: usize = 240;
/// No client sends more; what does is not worth reading.
const MAX_LEN: usize = 1500;
/// Message size of a client that names none, and the least it may name (RFC 2132, 9.10): with IPv4 and UDP header.
pub(super) const MIN_MAX_MESSAGE_SIZE: u16 = 576;
/// One option's worth. Longer client identifiers would have to be split, and no RFC defines any.
const MAX_CLIENT_ID: usize = 255;

/// A client's message.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// Transaction, echoed.
    pub(super) xid: [u8; 4],
    /// Echoed; the first bit is the broadcast flag.
    pub(super) flags: [u8; 2],
    /// The address that the client has and answers ARP for; unspecified when it has none.
    pub(super) ciaddr: Ipv4Addr,
    /// The client's MAC.
    pub(super) chaddr: MacAddr,
    options: Options<'a>,
}

impl<'a> Request<'a> {
    /// Reads the fixed fields and finds the options.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Silence> {
        if message.len() > MAX_LEN {
            return Err(Silence::BadBootp);
        }
        let mut rest = message;
        let [op, htype, hlen, _hops] = take(&mut rest)?;
        let xid = take(&mut rest)?;
        let _secs: [u8; 2] = take(&mut rest)?;
        let flags = take(&mut rest)?;
        let ciaddr = Ipv4Addr::from(take::<4>(&mut rest)?);
        let _yiaddr_siaddr: [u8; 8] = take(&mut rest)?;
        let giaddr = Ipv4Addr::from(take::<4>(&mut rest)?);
        let chaddr = MacAddr(take(&mut rest)?);
        let _chaddr_padding: [u8; 10] = take(&mut rest)?;
        let (sname, after) = rest.split_at_checked(64).ok_or(Silence::BadBootp)?;
        let (file, after) = after.split_at_checked(128).ok_or(Silence::BadBootp)?;
        rest = after;
        if op != OP_REQUEST
            || htype != HTYPE_ETHERNET
            || hlen != HLEN_ETHERNET
            || take::<4>(&mut rest)? != COOKIE
        {
            return Err(Silence::BadBootp);
        }
        if !giaddr.is_unspecified() {
            return Err(Silence::Relayed);
        }
        Ok(Self { xid, flags, ciaddr, chaddr, options: Options::new(rest, file, sname) })
    }

    /// Option 53.
    pub(super) fn message_type(&self) -> Result<MessageType, Silence> {
        match self.options.get(options::MESSAGE_TYPE).as_deref() {
            Some([code]) => MessageType::from_code(*code).ok_or(Silence::UnexpectedType),
            Some(_) => Err(Silence::BadOption),
            None => Err(Silence::UnexpectedType),
        }
    }

    /// Option 54: the server the client means.
    pub(super) fn server_id(&self) -> Result<Option<Ipv4Addr>, Silence> {
        self.address(options::SERVER_ID)
    }

    /// Option 50: the address the client would like to have.
    pub(super) fn requested_address(&self) -> Result<Option<Ipv4Addr>, Silence> {
        self.address(options::REQUESTED_ADDRESS)
    }

    /// Option 55: the options the client asks for, in its order. `None`: it leaves the choice to the server.
    pub(super) fn parameter_list(&self) -> Option<Vec<u8>> {
        self.options.get(options::PARAMETER_REQUEST_LIST)
    }

    /// Option 61, to be echoed (RFC 6842).
    pub(super) fn client_id(&self) -> Result<Option<Vec<u8>>, Silence> {
        match self.options.get(options::CLIENT_ID) {
            Some(id) if id.len() > MAX_CLIENT_ID => Err(Silence::BadOption),
            id => Ok(id),
        }
    }

    /// Option 57, or what holds without one: the largest IPv4 datagram that the client takes.
    pub(super) fn max_message_size(&self) -> u16 {
        match self.options.get(options::MAX_MESSAGE_SIZE).as_deref() {
            Some(&[high, low]) => u16::from_be_bytes([high, low]).max(MIN_MAX_MESSAGE_SIZE),
            _ => MIN_MAX_MESSAGE_SIZE,
        }
    }

    /// Whether the client can receive only broadcasts as long as it has no address.
    pub(super) fn wants_broadcast(&self) -> bool {
        let [high, _] = self.flags;
        high & 0x80 != 0
    }

    fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, Silence> {
        match self.options.get(code) {
            None => Ok(None),
            Some(value) => match <[u8; 4]>::try_from(value.as_slice()) {
                Ok(octets) => Ok(Some(octets.into())),
                Err(_) => Err(Silence::BadOption),
            },
        }
    }
}

/// Takes the next `N` bytes off `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Silence> {
    let (head, tail) = rest.split_first_chunk().ok_or(Silence::BadBootp)?;
    *rest = tail;
    Ok(*head)
}
