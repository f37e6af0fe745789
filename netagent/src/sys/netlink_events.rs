// SPDX-License-Identifier: MIT OR Apache-2.0
//! A netlink socket that hears of changes in many namespaces at once, without holding any of them open.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{self, AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt};

/// include/uapi/linux/netlink.h.
const NETLINK_LISTEN_ALL_NSID: libc::c_int = 8;
/// Room for some ten thousand changes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something changed in the namespace with this number, as the socket's namespace numbers it.
    Elsewhere(i32),
    /// Something changed in the socket's own namespace.
    Here,
    /// More changed than the socket had room for.
    Overrun,
}

/// Room for the one control message that is of interest, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Listens to the groups (bit n - 1 for `RTNLGRP_` n) in all namespaces that have a number in the caller's.
///
/// # Errors
/// When the kernel refuses; without `CAP_NET_BROADCAST` it says EPERM.
pub fn open(groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    socket::setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            NETLINK_LISTEN_ALL_NSID,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// The next change; `WouldBlock` when there is none.
///
/// # Errors
/// When the socket is broken.
pub fn receive(socket: &OwnedFd) -> io::Result<Heard> {
    let mut data = [0u8; 16];
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: a message header of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // What changed is asked of the kernel later, so the message itself may be cut off.
    // SAFETY: the header points to buffers of the lengths that it gives, which live through the call.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOBUFS) { Ok(Heard::Overrun) } else { Err(error) };
    }
    Ok(nsid(&control.0, message.msg_controllen as usize).map_or(Heard::Here, Heard::Elsewhere))
}

/// Finds the number that `netlink_cmsg_listen_all_nsid` (net/netlink/af_netlink.c) puts; there is none for the socket's
/// own namespace.
fn nsid(control: &[u8], length: usize) -> Option<i32> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let control = control.get(..length)?;
    let field = |from: usize| control.get(from..)?.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes));
    let level = field(std::mem::offset_of!(libc::cmsghdr, cmsg_level))?;
    let kind = field(std::mem::offset_of!(libc::cmsghdr, cmsg_type))?;
    if (level, kind) != (libc::SOL_NETLINK, NETLINK_LISTEN_ALL_NSID) {
        return None;
    }
    field(HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_namespace_s_number() {
        let mut control = [0u8; 24];
        control[..8].copy_from_slice(&20u64.to_ne_bytes());
        control[8..12].copy_from_slice(&libc::SOL_NETLINK.to_ne_bytes());
        control[12..16].copy_from_slice(&NETLINK_LISTEN_ALL_NSID.to_ne_bytes());
        control[16..20].copy_from_slice(&7i32.to_ne_bytes());
        assert_eq!(nsid(&control, 24), Some(7));
        assert_eq!(nsid(&control, 0), None);
        control[12] = 1;
        assert_eq!(nsid(&control, 24), None);
    }
}
