// SPDX-License-Identifier: MIT OR Apache-2.0
//! The four messages of a DHCPv4 boot, as a guest's kernel writes and reads them (RFC 2131).

use std::net::Ipv4Addr;

use crate::bench::load::frame::{Mac, internet_checksum};

pub(super) const DISCOVER: u8 = 1;
pub(super) const OFFER: u8 = 2;
pub(super) const REQUEST: u8 = 3;
pub(super) const ACK: u8 = 5;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Bytes in front of the cookie.
const BOOTP: usize = 236;
const MESSAGE_TYPE: u8 = 53;
const REQUESTED_ADDRESS: u8 = 50;
const SERVER_ID: u8 = 54;
const PARAMETERS: u8 = 55;
const PAD: u8 = 0;
const END: u8 = 255;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) xid: u32,
    pub(super) message: u8,
    pub(super) address: Ipv4Addr,
    pub(super) server: Ipv4Addr,
}

/// The client's first message.
pub(super) fn discover(mac: Mac, xid: u32) -> Vec<u8> {
    frame(mac, xid, &[MESSAGE_TYPE, 1, DISCOVER])
}

/// The client takes what it was offered.
pub(super) fn request(mac: Mac, offer: &Reply) -> Vec<u8> {
    let mut options = vec![MESSAGE_TYPE, 1, REQUEST, REQUESTED_ADDRESS, 4];
    options.extend(offer.address.octets());
    options.extend([SERVER_ID, 4]);
    options.extend(offer.server.octets());
    frame(mac, offer.xid, &options)
}

fn frame(mac: Mac, xid: u32, options: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0];
    message.extend(xid.to_be_bytes());
    message.resize(28, 0);
    message.extend(mac);
    message.resize(BOOTP, 0);
    message.extend(COOKIE);
    message.extend(options);
    // What udhcpc asks for.
    message.extend([PARAMETERS, 8, 1, 3, 6, 12, 15, 26, 119, 121, END]);
    message.resize(300, 0);
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = [0_u8; IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length(IPV4 + UDP + message.len()));
    header[8] = 64;
    header[9] = 17;
    header[16..20].copy_from_slice(&[0xff; 4]);
    let checksum = internet_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = [0xff; 6].to_vec();
    frame.extend(mac);
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend([0, 68, 0, 67]);
    frame.extend(length(UDP + message.len()));
    // No checksum: IPv4 allows that (RFC 768).
    frame.extend([0, 0]);
    frame.extend(message);
    frame
}

/// Reads a server's frame; `None` for any other.
pub(super) fn read(frame: &[u8]) -> Option<Reply> {
    let udp = frame.get(ETHERNET + IPV4..)?;
    if frame.get(12..14)? != [8, 0] || udp.get(..4)? != [0, 67, 0, 68] {
        return None;
    }
    let message = udp.get(UDP..)?;
    let four = |at: usize| message.get(at..at + 4)?.first_chunk::<4>().copied();
    if *message.first()? != 2 || four(BOOTP)? != COOKIE {
        return None;
    }
    let mut options = message.get(BOOTP + COOKIE.len()..)?;
    let (mut said, mut server) = (None, None);
    loop {
        match options {
            [PAD, rest @ ..] => options = rest,
            [END, ..] | [] => break,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                match *code {
                    MESSAGE_TYPE => said = value.first().copied(),
                    SERVER_ID => server = value.first_chunk::<4>().copied(),
                    _ => {}
                }
                options = rest;
            }
            _ => return None,
        }
    }
    Some(Reply {
        xid: u32::from_be_bytes(four(4)?),
        message: said?,
        address: four(16)?.into(),
        server: server?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_read_and_what_a_client_says_is_not() {
        let offer =
            Reply { xid: 7, message: OFFER, address: [10, 0, 0, 2].into(), server: [10, 0, 0, 1].into() };
        let mut frame = request([2; 6], &offer);
        assert_eq!(read(&frame), None);
        // The same as a server would say it.
        frame[ETHERNET + IPV4..][..4].copy_from_slice(&[0, 67, 0, 68]);
        let message = ETHERNET + IPV4 + UDP;
        frame[message] = 2;
        frame[message + 16..][..4].copy_from_slice(&[10, 0, 0, 2]);
        assert_eq!(read(&frame), Some(Reply { message: REQUEST, ..offer }));
        assert_eq!(read(&frame[..frame.len() / 2]), None);
    }
}
