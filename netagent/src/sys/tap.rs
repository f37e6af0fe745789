// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tap devices by ioctl (drivers/net/tun.c): rtnetlink cannot make them.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::net::if_::if_nametoindex;

use super::{labelled_tap, selinux::Label};
use crate::core::ids::IfName;

/// `IFF_TUN_EXCL` of include/uapi/linux/if_tun.h: fail when the name is taken, whoever has it.
const IFF_TUN_EXCL: libc::c_int = 0x8000;

const fn tun_request(number: u8) -> libc::c_ulong {
    nix::request_code_write!(b'T', number, size_of::<libc::c_int>())
}

nix::ioctl_write_ptr_bad!(
    /// Makes or opens a tun or tap device.
    tun_set_iff,
    tun_request(202),
    libc::ifreq
);
nix::ioctl_write_int_bad!(
    /// Whether the device outlives its descriptor.
    tun_set_persist,
    tun_request(203)
);
nix::ioctl_write_int_bad!(
    /// User that may open the device without CAP_NET_ADMIN.
    tun_set_owner,
    tun_request(204)
);
nix::ioctl_write_int_bad!(
    /// Group that may open the device without CAP_NET_ADMIN.
    tun_set_group,
    tun_request(206)
);

/// A tap in the making. It vanishes when this is dropped or the agent dies, until [`keep`](Self::keep) is called: so
/// no half-made tap is ever found.
#[derive(Debug)]
pub struct TapDraft {
    fd: OwnedFd,
    name: IfName,
    /// Its index in the namespace that it was made in.
    pub ifindex: u32,
}

/// A step of making a tap that failed.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The kernel refused it.
    #[error("{operation} for tap {name}")]
    Refused {
        /// The step.
        operation: &'static str,
        /// The tap.
        name: IfName,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// SELinux, or what it allows the agent.
    #[error(
        "make tap {name} under the SELinux label {label} of who will open it; let the policy have netagent start itself under that label"
    )]
    Label {
        /// The tap.
        name: IfName,
        /// The label.
        label: Label,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// As in an unprivileged container.
    #[error(
        "turn IPv6 off for tap {name}: mount /proc/sys writable for the agent, as a privileged container has it"
    )]
    ReadOnlySysctl {
        /// The tap.
        name: IfName,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
}

impl TapDraft {
    /// Makes a tap with a vnet header (for offloads) in the calling thread's namespace, down and without IPv6 of its
    /// own: the pod's kernel has nothing to say to the guest. With `label` it is made under that SELinux label.
    ///
    /// # Errors
    /// When the name is taken (EBUSY), or /dev/net/tun is missing or not permitted.
    pub fn create(
        name: &IfName,
        multi_queue: bool,
        uid: Option<u32>,
        gid: Option<u32>,
        label: Option<&Label>,
    ) -> Result<Self, TapError> {
        let failed = |operation| {
            let name = name.clone();
            move |source: io::Error| TapError::Refused { operation, name, source }
        };
        let fd: OwnedFd = File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .map_err(failed("open /dev/net/tun"))?
            .into();
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | IFF_TUN_EXCL;
        if multi_queue {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        match label {
            None => set_iff(&fd, name, flags).map_err(failed("TUNSETIFF"))?,
            Some(label) => labelled_tap::set_iff(&fd, name, flags, label)
                .map_err(|source| TapError::Label { name: name.clone(), label: label.clone(), source })?,
        }
        if let Some(uid) = uid {
            // SAFETY: the descriptor is open and the argument is a number.
            unsafe { tun_set_owner(fd.as_raw_fd(), uid.cast_signed()) }
                .map_err(|e| failed("TUNSETOWNER")(e.into()))?;
        }
        if let Some(gid) = gid {
            // SAFETY: the descriptor is open and the argument is a number.
            unsafe { tun_set_group(fd.as_raw_fd(), gid.cast_signed()) }
                .map_err(|e| failed("TUNSETGROUP")(e.into()))?;
        }
        let ifindex = if_nametoindex(name.as_str()).map_err(|e| failed("look up the index")(e.into()))?;
        ipv6_is_off(name, fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1"))?;
        Ok(Self { fd, name: name.clone(), ifindex })
    }

    /// Lets the tap outlive the agent.
    ///
    /// # Errors
    /// When the kernel refuses; the tap is gone then.
    pub fn keep(self) -> Result<u32, TapError> {
        // SAFETY: the descriptor is open and the argument is a number.
        unsafe { tun_set_persist(self.fd.as_raw_fd(), 1) }.map_err(|e| TapError::Refused {
            operation: "TUNSETPERSIST",
            name: self.name.clone(),
            source: e.into(),
        })?;
        Ok(self.ifindex)
    }
}

/// Makes the tap `name` on an open /dev/net/tun.
pub(super) fn set_iff(tun: &impl AsRawFd, name: &IfName, flags: libc::c_int) -> io::Result<()> {
    let request = ifreq(name, flags);
    // SAFETY: the kernel checks the descriptor, and reads (and writes back) one ifreq.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// What TUNSETIFF is asked for.
pub(super) fn ifreq(name: &IfName, flags: libc::c_int) -> libc::ifreq {
    // SAFETY: all fields of ifreq are plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    // The kernel takes the flags as the 16 bits they are, sign or not.
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    request
}

/// What the write to the tap's `disable_ipv6` came to.
fn ipv6_is_off(name: &IfName, written: io::Result<()>) -> Result<(), TapError> {
    let Err(source) = written else { return Ok(()) };
    match source.kind() {
        // A kernel without IPv6 has nothing to turn off.
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::ReadOnlyFilesystem => Err(TapError::ReadOnlySysctl { name: name.clone(), source }),
        _ => Err(TapError::Refused { operation: "turn IPv6 off", name: name.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_proc_sys_is_told_with_its_remedy() {
        let name: IfName = "tap0".parse().unwrap();
        let off = |errno| ipv6_is_off(&name, Err(io::Error::from_raw_os_error(errno)));
        let text = off(libc::EROFS).unwrap_err().to_string();
        assert!(text.contains("tap tap0") && text.contains("mount /proc/sys writable"), "{text}");
        assert_eq!(off(libc::EACCES).unwrap_err().to_string(), "turn IPv6 off for tap tap0");
        assert!(off(libc::ENOENT).is_ok());
    }
}
