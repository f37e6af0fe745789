// SPDX-License-Identifier: MIT OR Apache-2.0
//! Questions of neighbour discovery out of a device, and the answers, past whatever sits on it in tc.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Instant,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{self, MsgFlags},
};

/// Longer than any answer.
const FRAME: usize = 2048;

/// Sends frames out of one device and hears the neighbour advertisements and echo replies that come in by it: before tc
/// does, because packet sockets for all protocols come first (`__netif_receive_skb_core`, net/core/dev.c). Belongs to the
/// namespace in which it was opened, and keeps it alive.
#[derive(Debug)]
pub struct NeighbourSocket {
    fd: OwnedFd,
}

impl NeighbourSocket {
    /// Opens a socket on the device with this index, in the calling thread's namespace.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, and when there is no such device.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0: nothing is queued before the filter is there.
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut steps = filter();
        let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
        let on: libc::c_int = 1;
        // What tc has on egress, our own program among it, drops what the pod's stack sends: packet(7).
        set(&fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &on)?;
        // What the guest sends is no answer to the pod.
        set(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &on)?;
        bind(&fd, ifindex)?;
        Ok(Self { fd })
    }

    /// Sends one frame, its Ethernet header first.
    ///
    /// # Errors
    /// ENETDOWN or ENXIO when the device is down or gone, ENOBUFS when it is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        socket::send(self.fd.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// The next answer; `None` when there is none until then.
    ///
    /// # Errors
    /// When the device is down or gone.
    pub fn receive(&self, until: Instant) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; FRAME];
        loop {
            match socket::recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Rounded up: a wait of less than a millisecond must not become a busy one.
            let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
            let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Lets in ICMPv6 of two types, as it lies in an Ethernet frame (Documentation/networking/filter.rst): a guest at full
/// speed must neither fill the socket nor be copied to it.
fn filter() -> [libc::sock_filter; 9] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        step(LOAD_HALF, 0, 0, 12), // EtherType
        step(JUMP_IF_EQUAL, 0, 6, 0x86dd),
        step(LOAD_BYTE, 0, 0, 14 + 6), // next header
        step(JUMP_IF_EQUAL, 0, 4, 58),
        step(LOAD_BYTE, 0, 0, 14 + 40), // type
        step(JUMP_IF_EQUAL, 1, 0, 136),
        step(JUMP_IF_EQUAL, 0, 1, 129),
        step(RETURN, 0, 0, FRAME as u32),
        step(RETURN, 0, 0, 0),
    ]
}

fn bind(fd: &OwnedFd, ifindex: u32) -> io::Result<()> {
    // SAFETY: all fields of sockaddr_ll are plain data, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex.cast_signed();
    // SAFETY: the address is valid for the length given.
    let bound = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set<T>(fd: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value and its size are those of one object, which outlives the call, and the option takes that type.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
