// SPDX-License-Identifier: MIT OR Apache-2.0
//! A queue of a tap that is there, opened as a VMM opens it.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use nix::{net::if_::if_nametoindex, unistd};
use tokio::io::unix::AsyncFd;

use super::{
    readiness,
    tap::{TapError, ifreq, tun_set_iff},
};
use crate::core::ids::IfName;

/// Room for any frame with offloads, and its virtio header.
const FRAME: usize = 66 * 1024;

nix::ioctl_read_bad!(
    /// Bytes of the virtio header in front of each frame: the device keeps what its last user set.
    tun_get_vnet_hdr_size,
    nix::request_code_read!(b'T', 215, size_of::<libc::c_int>()),
    libc::c_int
);

/// An open queue of a tap. Closing it leaves the tap as it was.
#[derive(Debug)]
pub struct TapQueue {
    fd: OwnedFd,
    header: usize,
}

impl TapQueue {
    /// Opens a queue of the tap with this name and index, in the calling thread's namespace; `None` when somebody else
    /// has a tap of one queue open.
    ///
    /// # Errors
    /// When the kernel refuses, or the name is another device's now.
    pub fn open(name: &IfName, ifindex: u32, multi_queue: bool) -> Result<Option<Self>, TapError> {
        let failed = |operation| {
            let name = name.clone();
            move |source: io::Error| TapError::Refused { operation, name, source }
        };
        let fd: OwnedFd = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .map_err(failed("open /dev/net/tun"))?
            .into();
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if multi_queue {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        let request = ifreq(name, flags);
        // SAFETY: the descriptor is open and the kernel reads (and writes back) one ifreq.
        match unsafe { tun_set_iff(fd.as_raw_fd(), &raw const request) } {
            Ok(_) => {}
            Err(nix::errno::Errno::EBUSY) => return Ok(None),
            Err(e) => return Err(failed("open a queue")(e.into())),
        }
        // Were the tap gone, the kernel would have made another one, which goes with this descriptor.
        let opened = if_nametoindex(name.as_str()).map_err(|e| failed("look up the index")(e.into()))?;
        if opened != ifindex {
            return Err(failed("open a queue")(io::Error::from_raw_os_error(libc::ENODEV)));
        }
        let mut header: libc::c_int = 0;
        // SAFETY: the descriptor is open and the kernel writes one int.
        unsafe { tun_get_vnet_hdr_size(fd.as_raw_fd(), &raw mut header) }
            .map_err(|e| failed("TUNGETVNETHDRSZ")(e.into()))?;
        Ok(Some(Self { fd, header: usize::try_from(header).unwrap_or_default() }))
    }

    /// Lets the runtime watch the queue.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn watch(self) -> io::Result<WatchedTapQueue> {
        Ok(WatchedTapQueue { fd: readiness::readable(self.fd)?, header: self.header })
    }
}

/// A queue of a tap whose frames are waited for.
#[derive(Debug)]
pub struct WatchedTapQueue {
    fd: AsyncFd<OwnedFd>,
    header: usize,
}

impl WatchedTapQueue {
    /// Sends a frame as the guest would: whole, its checksums done.
    ///
    /// # Errors
    /// When the kernel refuses, as it does (EIO) while the tap is down.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let packet = [vec![0; self.header].as_slice(), frame].concat();
        unistd::write(self.fd.get_ref().as_fd(), &packet)?;
        Ok(())
    }

    /// Waits for the next frame to the guest.
    ///
    /// # Errors
    /// When the tap is gone.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        loop {
            // What a question set off is often there before the runtime hears of it.
            if let Some(frame) = self.receive_now()? {
                return Ok(frame);
            }
            let mut ready = self.fd.readable().await?;
            ready.clear_ready();
        }
    }

    /// The next frame to the guest, if one waits.
    ///
    /// # Errors
    /// When the tap is gone.
    pub fn receive_now(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; FRAME];
        match unistd::read(self.fd.get_ref().as_fd(), &mut buffer) {
            Ok(length) => Ok(Some(buffer.get(self.header..length).unwrap_or_default().to_vec())),
            Err(nix::errno::Errno::EAGAIN) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}
