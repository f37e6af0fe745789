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

    /// From now on only frames whose mark and queue mapping (`skb->mark`, `skb->queue_mapping`) are zero come in. The
    /// kernel judges, by a classic filter: Documentation/networking/filter.rst.
    pub fn only_unmarked(&self) -> Result<()> {
        const LOAD_WORD: u16 = 0x20;
        const JUMP_IF_EQUAL: u16 = 0x15;
        const RETURN: u16 = 0x06;
        const ANCILLARY: u32 = 0xffff_f000;
        const MARK: u32 = ANCILLARY + 20;
        const QUEUE: u32 = ANCILLARY + 24;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut steps = [
            step(LOAD_WORD, 0, 0, MARK),
            step(JUMP_IF_EQUAL, 0, 3, 0),
            step(LOAD_WORD, 0, 0, QUEUE),
            step(JUMP_IF_EQUAL, 0, 1, 0),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ];
        let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        set(&self.fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
            .context("cannot attach a filter to the packet socket")
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
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        let mut control = [0u64; 16];
        #[expect(unsafe_code, reason = "the address tells the direction, and nix hides it")]
        // SAFETY: all fields of sockaddr_ll are plain data, for which zero is a value.
        let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: as above, with null pointers.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&control);
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: every pointer of the message is to a buffer of the length beside it, and all outlive the call.
        let read = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        frame.truncate(read);
        if let Some([low, high, tpid @ ..]) = tag(&message) {
            // The kernel took the tag out of the frame: back to where it was on the wire.
            let place = frame.len().min(12);
            frame.splice(place..place, [tpid[0], tpid[1], high, low]);
        }
        Ok((from.sll_pkttype != libc::PACKET_OUTGOING).then_some(frame))
    }
}

/// The VLAN tag that came beside the frame: its control information, low byte first, and its protocol as on the wire.
fn tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    #[expect(unsafe_code, reason = "control messages are read by libc's macros")]
    // SAFETY: the kernel has filled the message, whose control buffer is alive and aligned.
    let first = unsafe { libc::CMSG_FIRSTHDR(message) };
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: null, or the start of the control buffer.
    let header = unsafe { first.as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: the header is that of a control message in the buffer.
    let place = unsafe { libc::CMSG_DATA(header) };
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: a control message of this type holds one tpacket_auxdata.
    let data = unsafe { place.cast::<libc::tpacket_auxdata>().read_unaligned() };
    let [low, high] = data.tp_vlan_tci.to_le_bytes();
    let [a, b] = data.tp_vlan_tpid.to_be_bytes();
    (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some([low, high, a, b])
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
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    set(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1u32)?;
    // Tests look at frames when all is over: room for many, beyond the machine's limit.
    set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(32u32 << 20))?;
    Ok(PacketSocket { fd })
}

fn set<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    #[expect(unsafe_code, reason = "nix does not know these options")]
    // SAFETY: pointer and length are those of `value`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const *value).cast(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
