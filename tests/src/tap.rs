// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opening a tap as a VMM does, and raw frames through it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::netns::Netns;

/// Bytes of `struct virtio_net_hdr`, in front of every frame (TUNSETVNETHDRSZ's default).
pub const VNET_HEADER: usize = 10;
/// Largest frame with offloads, and its header.
pub const FRAME_MAX: usize = VNET_HEADER + 65_536 + 64;

// VIRTIO_NET_HDR_F_NEEDS_CSUM, include/uapi/linux/virtio_net.h.
const VIRTIO_NEEDS_CHECKSUM: u8 = 1;

// TUN_F_*, include/uapi/linux/if_tun.h; not in libc for all targets.
const TUN_F_CSUM: u32 = 0x01;
const TUN_F_TSO4: u32 = 0x02;
const TUN_F_TSO6: u32 = 0x04;
const TUN_F_TSO_ECN: u32 = 0x08;

/// What the reader of a tap takes without the kernel finishing it first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offloads {
    /// Partial checksums and unsegmented TCP, as a virtio card negotiates.
    #[default]
    On,
    /// Whole packets only: what a guest without offloads, or XDP, wants.
    Off,
}

/// How to open a tap.
#[derive(Clone, Copy, Debug, Default)]
pub struct TapSpec {
    /// Given to the kernel by TUNSETOFFLOAD.
    pub offloads: Offloads,
    /// Whether the tap was made with IFF_MULTI_QUEUE. One queue is opened.
    pub multi_queue: bool,
}

/// What the segments of a frame are (VIRTIO_NET_HDR_GSO_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Not to be cut: only the checksum is left to the kernel.
    None = 0,
    /// TCP over IPv4.
    Tcp4 = 1,
    /// TCP over IPv6.
    Tcp6 = 4,
    /// UDP, each segment a datagram.
    Udp = 5,
}

/// What `struct virtio_net_hdr` says of a frame whose checksum is not done.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// What they are.
    pub kind: SegmentKind,
    /// Bytes of all headers.
    pub header_len: u16,
    /// Payload of each segment.
    pub size: u16,
    /// Where the checksum starts.
    pub checksum_start: u16,
    /// Where it is stored, from there on.
    pub checksum_offset: u16,
}

/// One open queue of a tap with the vnet header.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

/// `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

mod ioctl {
    use nix::libc;

    nix::ioctl_write_ptr_bad!(set_interface, libc::TUNSETIFF, super::InterfaceRequest);
    nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
}

impl Tap {
    /// Opens `name` in `netns`; the kernel makes the tap if it is not there, and removes that one on close.
    pub fn open(netns: &Netns, name: &str, spec: TapSpec) -> Result<Self> {
        netns
            .run_inside(|| Self::open_here(name, spec))?
            .with_context(|| format!("tap {name} in {}", netns.name()))
    }

    /// Opens the macvtap whose link has this index. Its file is the same from every namespace.
    pub fn open_macvtap(index: u32, spec: TapSpec) -> Result<Self> {
        let path = format!("/dev/tap{index}");
        let open = OpenOptions::new().read(true).write(true).open(&path);
        // The name is not looked at: the file is the device's own.
        Self::set_up(open.with_context(|| format!("cannot open {path}"))?, "", spec).context(path)
    }

    /// Opens `name` as QEMU does in a launcher: of another user, without any capability; the device was given to it.
    pub fn open_as(netns: &Netns, name: &str, spec: TapSpec, user: u32) -> Result<Self> {
        netns
            .run_inside(|| {
                let device = device()?;
                become_user(user)?;
                Self::set_up(device, name, spec)
            })?
            .with_context(|| format!("tap {name} in {} as user {user}", netns.name()))
    }

    fn open_here(name: &str, spec: TapSpec) -> Result<Self> {
        Self::set_up(device()?, name, spec)
    }

    fn set_up(file: File, name: &str, spec: TapSpec) -> Result<Self> {
        let queues = if spec.multi_queue { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | queues;
        let mut request =
            InterfaceRequest { name: [0; libc::IFNAMSIZ], flags: flags as libc::c_short, rest: [0; 22] };
        match request.name.get_mut(..name.len()) {
            Some(slot) if name.len() < libc::IFNAMSIZ => slot.copy_from_slice(name.as_bytes()),
            _ => bail!("`{name}` is too long for an interface"),
        }
        let offloads = match spec.offloads {
            Offloads::On => TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
            Offloads::Off => 0,
        };
        #[expect(unsafe_code, reason = "the ioctl takes a pointer")]
        // SAFETY: `request` has the size and layout of `struct ifreq` and outlives the call; the kernel writes the
        // name into the same bytes only.
        unsafe { ioctl::set_interface(file.as_raw_fd(), &raw const request) }.context("TUNSETIFF")?;
        #[expect(unsafe_code, reason = "nix marks all ioctls unsafe")]
        // SAFETY: the argument is a number, no memory is involved.
        unsafe { ioctl::set_offload(file.as_raw_fd(), offloads as libc::c_int) }.context("TUNSETOFFLOAD")?;
        Ok(Self { file })
    }

    /// As vhost, QEMU and Firecracker have it. The kernel builds frames of a blocking writer in another, dearer way
    /// (`tun_can_build_skb`, drivers/net/tun.c).
    pub fn never_block(&self) -> Result<()> {
        fcntl(self.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map(drop)
            .context("cannot make the tap's descriptor non-blocking")
    }

    /// Sends an Ethernet frame as the guest would, with an empty vnet header (whole packet, checksum done).
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_with([0; VNET_HEADER], frame)
    }

    /// Sends an Ethernet frame with a vnet header (`struct virtio_net_hdr`, include/uapi/linux/virtio_net.h).
    pub fn send_with(&self, header: [u8; VNET_HEADER], frame: &[u8]) -> Result<()> {
        self.write(&[&header, frame].concat()).context("cannot write to the tap")
    }

    /// Sends a frame that the kernel has yet to cut into segments and to give checksums, as a virtio card does.
    pub fn send_segments(&self, frame: &[u8], segments: Segments) -> Result<()> {
        let Segments { kind, header_len, size, checksum_start, checksum_offset } = segments;
        let mut packet = vec![VIRTIO_NEEDS_CHECKSUM, kind as u8];
        for number in [header_len, size, checksum_start, checksum_offset] {
            packet.extend(number.to_le_bytes());
        }
        packet.extend_from_slice(frame);
        self.write(&packet).context("cannot write to the tap")
    }

    /// The next frame to the guest, without its vnet header; nothing after `timeout`.
    pub fn recv(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        if !wait_readable(&[self.as_fd()], Some(timeout))?.first().is_some_and(|ready| *ready) {
            return Ok(None);
        }
        let mut buffer = vec![0; FRAME_MAX];
        let read = self.read(&mut buffer).context("cannot read from the tap")?;
        Ok(buffer.get(VNET_HEADER..read).map(<[u8]>::to_vec))
    }

    /// One packet with its vnet header.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// One packet with its vnet header: the tap takes it whole or not at all.
    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(drop)
    }
}

fn device() -> Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("cannot open /dev/net/tun")
}

/// Makes the calling thread, and no other, one of that user and group, which takes its capabilities. The thread has to
/// end afterwards.
fn become_user(id: u32) -> Result<()> {
    let id = libc::c_long::from(id);
    for (call, name, arguments) in [
        (libc::SYS_setgroups, "setgroups", [0, 0, 0]),
        (libc::SYS_setresgid, "setresgid", [id; 3]),
        (libc::SYS_setresuid, "setresuid", [id; 3]),
    ] {
        let [first, second, third] = arguments;
        #[expect(unsafe_code, reason = "libc's wrappers change every thread of the process")]
        // SAFETY: the arguments are numbers, and a list of no groups; no memory is involved.
        let done = unsafe { libc::syscall(call, first, second, third) };
        if done != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("{name} to {id}"));
        }
    }
    Ok(())
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Which of `fds` can be read (or are broken, which reading tells), after waiting for the first.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let timeout = match timeout {
        None => PollTimeout::NONE,
        Some(timeout) => PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX),
    };
    loop {
        match poll(&mut polled, timeout) {
            Ok(_) => return Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
    }
}
