// SPDX-License-Identifier: MIT OR Apache-2.0
//! Settings below /proc/sys/net, which are those of the calling thread's namespace, also where a container runtime has
//! made /proc/sys read-only.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

/// `FSOPEN_CLOEXEC`, `FSMOUNT_CLOEXEC` and `FSCONFIG_CMD_CREATE` of include/uapi/linux/mount.h.
const CLOEXEC: libc::c_uint = 1;
const CREATE: libc::c_uint = 6;

/// A setting that was not written.
#[derive(Debug)]
pub enum SysctlError {
    /// The kernel refused it.
    Refused(io::Error),
    /// /proc/sys is read-only, and so much the kernel said to a procfs of our own.
    ReadOnly(io::Error),
}

/// Writes a setting, as `net/ipv6/conf/tap0/disable_ipv6`.
///
/// # Errors
/// When it is not there or the kernel refuses.
pub fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    match fs::write(format!("/proc/sys/{key}"), value) {
        // Read-only is a property of the runtime's mount, not of the settings.
        Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            write_past_mount(key, value).map_err(SysctlError::ReadOnly)
        }
        other => other.map_err(SysctlError::Refused),
    }
}

/// Through a procfs that is mounted nowhere and gone when its descriptor is: it needs CAP_SYS_ADMIN, as entering a
/// namespace does.
fn write_past_mount(key: &str, value: &str) -> io::Result<()> {
    let procfs = procfs()?;
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(&procfs, format!("sys/{key}").as_str(), flags, Mode::empty())?;
    File::from(file).write_all(value.as_bytes())
}

fn procfs() -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string, and the kernel reads nothing else.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), CLOEXEC) })?;
    let raw = std::os::fd::AsRawFd::as_raw_fd(&context);
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the descriptor is open, and this command takes neither key nor value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, raw, CREATE, none, none, 0) };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and the rest are numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, raw, CLOEXEC, 0) })
}

/// What a system call that makes a descriptor returned.
fn descriptor(returned: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(returned) {
        // SAFETY: the kernel has just made it, and nobody else knows of it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
