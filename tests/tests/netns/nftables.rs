// SPDX-License-Identifier: MIT OR Apache-2.0
//! The nftables tables of a namespace, asked of the kernel itself: `nft` need not be installed.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use netagent_tests::netns::Netns;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};

// include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h and netlink.h.
const SUBSYSTEM_NFTABLES: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM_NFTABLES;
const GET_TABLE: u16 = SUBSYSTEM_NFTABLES | 1;
const REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;

/// One text per table; empty when there are none, or the kernel has no nftables.
pub(crate) fn tables(netns: &Netns) -> Result<Vec<String>> {
    netns.run_inside(tables_here)?
}

fn tables_here() -> Result<Vec<String>> {
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("cannot open a netfilter socket")?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(10, 0))
        .context("cannot set a timeout")?;
    // struct nlmsghdr, then struct nfgenmsg with family 0: all families.
    let mut request = Vec::new();
    request.extend((HEADER as u32 + 4).to_ne_bytes());
    request.extend(GET_TABLE.to_ne_bytes());
    request.extend(REQUEST_DUMP.to_ne_bytes());
    request.extend([0u8; 8 + 4]);
    send(socket.as_raw_fd(), &request, MsgFlags::empty()).context("cannot ask for the tables")?;

    let mut found = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).context("no answer")?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((size, kind)) = header(rest) {
            match kind {
                NEW_TABLE => found.push(format!("{:?}", rest.get(HEADER..size).unwrap_or_default())),
                NLMSG_DONE => return Ok(found),
                // A kernel without nftables does not know the question.
                NLMSG_ERROR => return Ok(found),
                other => bail!("netlink message of type {other}"),
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn header(message: &[u8]) -> Option<(usize, u16)> {
    let size = u32::from_ne_bytes(*message.first_chunk()?);
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    usize::try_from(size).ok().filter(|size| (HEADER..=message.len()).contains(size)).map(|size| (size, kind))
}
