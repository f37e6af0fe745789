// SPDX-License-Identifier: MIT OR Apache-2.0
//! BIG TCP: letting a link take segments beyond 64 KiB, which older `ip` cannot ask for.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, bail};
use netagent_tests::netns::Netns;
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

// include/uapi/linux/rtnetlink.h and if_link.h.
const RTM_NEWLINK: u16 = 16;
const REQUEST_ACK: u16 = 5;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const SIZE: u32 = 180_000;

/// Lets the stack hand `link` TCP segments of up to 180 kB, of both families.
pub(crate) fn big_segments(netns: &Netns, link: &str) -> Result<()> {
    netns.run_inside(|| set(link))?.with_context(|| format!("cannot allow {link} large segments"))
}

fn set(link: &str) -> Result<()> {
    let ifindex = if_nametoindex(link)?;
    // struct ifinfomsg, then the attributes.
    let mut body = vec![0u8; 4];
    body.extend(ifindex.to_ne_bytes());
    body.extend([0u8; 8]);
    for kind in [IFLA_GSO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE] {
        body.extend(8u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(SIZE.to_ne_bytes());
    }
    let mut request = (16 + body.len() as u32).to_ne_bytes().to_vec();
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(REQUEST_ACK.to_ne_bytes());
    request.extend([0u8; 8]);
    request.extend(body);
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut answer = [0u8; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer.get(16..20.min(length)).context("a short answer")?;
    match i32::from_ne_bytes(error.try_into()?) {
        0 => Ok(()),
        code => bail!("{}", std::io::Error::from_raw_os_error(-code)),
    }
}
