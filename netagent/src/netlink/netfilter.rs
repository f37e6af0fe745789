// SPDX-License-Identifier: MIT OR Apache-2.0
//! The base chains of nftables, asked of the kernel: `nft` need not be installed.
//!
//! Messages of include/uapi/linux/netfilter/nf_tables.h: `struct nlmsghdr`, `struct nfgenmsg`, attributes.

use std::{fmt, io, os::fd::AsRawFd as _};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
    },
    time::TimeVal,
};

const NFNL_SUBSYS_NFTABLES: u16 = 10 << 8;
const NFT_MSG_NEWCHAIN: u16 = NFNL_SUBSYS_NFTABLES | 3;
const NFT_MSG_GETCHAIN: u16 = NFNL_SUBSYS_NFTABLES | 4;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER: usize = 16;
const NFGENMSG: usize = 4;
/// Flags in the upper bits of an attribute's type.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_USE: u16 = 6;
const NF_DROP: u32 = 0;
/// The kernel fills at most this for a dump (NLMSG_GOODSIZE and the reader's buffer).
const BUFFER: usize = 64 * 1024;
const TIMEOUT_SECONDS: i64 = 10;

/// A base chain that does something: it has rules, or drops by its policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseChain {
    /// `NFPROTO_*` of include/uapi/linux/netfilter.h.
    pub family: u8,
    /// The table that it is in.
    pub table: String,
}

impl fmt::Display for BaseChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            1 => "inet",
            2 => "ip",
            3 => "arp",
            5 => "netdev",
            7 => "bridge",
            10 => "ip6",
            _ => "of an unknown family",
        };
        write!(f, "nftables table {family} {}", self.table)
    }
}

/// The base chains of the calling thread's namespace that do something; none on a kernel without nftables.
///
/// # Errors
/// When the kernel does not answer.
pub fn base_chains_here() -> io::Result<Vec<BaseChain>> {
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = match socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol) {
        Ok(socket) => socket,
        // A kernel without netfilter's netlink has no such rules.
        Err(nix::errno::Errno::EPROTONOSUPPORT) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(TIMEOUT_SECONDS, 0))?;
    send(socket.as_raw_fd(), &request(), MsgFlags::empty())?;
    let mut chains = Vec::new();
    let mut buffer = vec![0u8; BUFFER];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if read_answer(buffer.get(..length).unwrap_or_default(), &mut chains)? {
            chains.sort();
            chains.dedup();
            return Ok(chains);
        }
    }
}

/// A dump of the chains of all families.
fn request() -> Vec<u8> {
    let mut request = Vec::with_capacity(NLMSG_HEADER + NFGENMSG);
    request.extend(((NLMSG_HEADER + NFGENMSG) as u32).to_ne_bytes());
    request.extend(NFT_MSG_GETCHAIN.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.resize(NLMSG_HEADER + NFGENMSG, 0);
    request
}

/// Takes the messages of one datagram; `true` after the last one.
fn read_answer(mut messages: &[u8], chains: &mut Vec<BaseChain>) -> io::Result<bool> {
    while let Some((kind, body, rest)) = message(messages) {
        match kind {
            NFT_MSG_NEWCHAIN => chains.extend(base_chain(body)),
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return match code.saturating_neg() {
                    // nfnetlink knows no such subsystem: a kernel without nftables.
                    libc::EINVAL | libc::EOPNOTSUPP => Ok(true),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                };
            }
            _ => {}
        }
        messages = rest;
    }
    Ok(false)
}

/// Type and body of the first message, and what comes behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(NLMSG_HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// `None` for a chain without a hook, and for one that lets everything pass.
fn base_chain(body: &[u8]) -> Option<BaseChain> {
    let family = *body.first()?;
    let (mut table, mut hooked, mut drops, mut rules) = (None, false, false, 0);
    for (kind, value) in attributes(body.get(NFGENMSG..)?) {
        let number = || value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match kind {
            NFTA_CHAIN_TABLE => {
                table =
                    value.split(|b| *b == 0).next().map(|name| String::from_utf8_lossy(name).into_owned());
            }
            NFTA_CHAIN_HOOK => hooked = true,
            NFTA_CHAIN_POLICY => drops = number() == Some(NF_DROP),
            // Nothing jumps to a base chain, so what uses it are its rules.
            NFTA_CHAIN_USE => rules = number().unwrap_or(0),
            _ => {}
        }
    }
    (hooked && (drops || rules > 0)).then_some(BaseChain { family, table: table? })
}

/// Type and value of each attribute, up to the first that is broken.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & NLA_TYPE_MASK, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn chain(attributes: &[Vec<u8>]) -> Vec<u8> {
        let body = [vec![1, 0, 0, 0], attributes.concat()].concat();
        let mut bytes = ((NLMSG_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(NFT_MSG_NEWCHAIN.to_ne_bytes());
        bytes.resize(NLMSG_HEADER, 0);
        bytes.extend(body);
        bytes
    }

    fn found(messages: &[u8]) -> Vec<String> {
        let mut chains = Vec::new();
        assert!(!read_answer(messages, &mut chains).unwrap());
        chains.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn chains_with_a_hook_and_an_effect_are_found() {
        let table = attribute(NFTA_CHAIN_TABLE, b"istio\0");
        let hook = attribute(NFTA_CHAIN_HOOK | 0x8000, &[0; 8]);
        let rules = attribute(NFTA_CHAIN_USE, &2u32.to_be_bytes());
        let empty = attribute(NFTA_CHAIN_USE, &0u32.to_be_bytes());
        let drop = attribute(NFTA_CHAIN_POLICY, &0u32.to_be_bytes());
        let accept = attribute(NFTA_CHAIN_POLICY, &1u32.to_be_bytes());
        let of = |parts: &[&Vec<u8>]| chain(&parts.iter().map(|p| (*p).clone()).collect::<Vec<_>>());
        let expected = ["nftables table inet istio"];
        assert_eq!(found(&of(&[&table, &hook, &accept, &rules])), expected);
        assert_eq!(found(&of(&[&table, &hook, &drop, &empty])), expected);
        assert!(found(&of(&[&table, &hook, &accept, &empty])).is_empty());
        assert!(found(&of(&[&table, &rules])).is_empty(), "a chain that only others jump to");
        let two = [of(&[&table, &rules]), of(&[&table, &hook, &rules])].concat();
        assert_eq!(found(&two), expected);
    }

    #[test]
    fn broken_answers_end_and_find_nothing() {
        for broken in [&[][..], &[1, 2, 3], &[0; 64], &[0xff; 64], &chain(&[vec![0xff; 8]])] {
            assert!(found(broken).is_empty(), "{broken:?}");
        }
    }

    #[test]
    fn the_kernel_answers() {
        // Whatever the rules of this machine are; as another user the kernel says so.
        match base_chains_here() {
            Ok(_) => {}
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::PermissionDenied, "{e}"),
        }
    }
}
