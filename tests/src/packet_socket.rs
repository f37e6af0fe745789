// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wire at a link, frame by frame: an AF_PACKET socket that sees what comes in and sends what it is given.

use std::{
    ffi::CString,
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{libc, net::if_::if_nametoindex};

use crate::{netns::Netns, tap::wait_readable};

/// Longest frame: a GSO frame is seen whole.
const FRAME_MAX: usize = 1 << 17;

/// A raw socket bound to one link.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Binds to `link` in `netns`. From now on every frame that comes in there waits in the socket.
    pub fn open(netns: &Netns, link: &str) -> Result<Self> {
        netns.run_inside(|| bound(link))?.with_context(|| format!("cannot open a packet socket on {link}"))
    }

    /// Sends a frame out through the link.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        #[expect(unsafe_code, reason = "nix has no plain send for a bound packet socket")]
        // SAFETY: the pointer and the length are those of `frame`, which outlives the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error()).context("cannot send on the packet socket");
        }
        Ok(())
    }

    /// The next frame that came in; nothing after `timeout`. Frames that went out are passed over.
    pub fn recv(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !wait_readable(&[self.fd.as_fd()], Some(left))?.first().is_some_and(|ready| *ready) {
                return Ok(None);
            }
            if let Some(frame) = self.read().context("cannot read from the packet socket")? {
                return Ok(Some(frame));
            }
        }
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0u8; FRAME_MAX];
        #[expect(unsafe_code, reason = "the address tells the direction, and nix hides it")]
        // SAFETY: all fields of sockaddr_ll are plain data, for which zero is a value.
        let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
        let mut length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: buffer, address and their lengths belong together and outlive the call.
        let read = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        frame.truncate(read);
        Ok((from.sll_pkttype != libc::PACKET_OUTGOING).then_some(frame))
    }
}

fn bound(link: &str) -> io::Result<PacketSocket> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    #[expect(unsafe_code, reason = "nix knows no AF_PACKET protocols in network order")]
    // SAFETY: the arguments are numbers.
    let fd = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::c_int::from(protocol))
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "the descriptor is a plain number until it is owned")]
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let ifindex = if_nametoindex(CString::new(link)?.as_c_str())?;
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: all fields of sockaddr_ll are plain data, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = protocol;
    address.sll_ifindex = ifindex.cast_signed();
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: the address has the size that is given and outlives the call.
    let done = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(PacketSocket { fd }) }
}
