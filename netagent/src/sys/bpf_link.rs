// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a pinned tcx link is attached to: the one thing about links that aya does not tell.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `BPF_OBJ_GET` of include/uapi/linux/bpf.h.
const BPF_OBJ_GET: libc::c_long = 7;

/// `union bpf_attr`, the part of `BPF_OBJ_GET`.
#[repr(C)]
#[derive(Default)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Index of the device that a pinned tcx link is attached to, in the device's own namespace; `None` once the device is
/// gone. Works from any namespace.
///
/// # Errors
/// When the pin cannot be opened, or is no tcx link.
pub fn attached_ifindex(pin: &Path) -> io::Result<Option<u32>> {
    let link = open_pin(pin)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let ifindex = parse(&text).ok_or_else(|| io::Error::other("not a tcx link"))?;
    Ok((ifindex != 0).then_some(ifindex))
}

/// Finds the line that `tcx_link_fdinfo` (kernel/bpf/tcx.c) writes.
fn parse(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("ifindex:"))?.trim().parse().ok()
}

fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attributes = ObjGet { pathname: path.as_ptr() as u64, ..ObjGet::default() };
    // SAFETY: the attributes have the size that is given, and the path they point to outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw mut attributes, size_of::<ObjGet>() as libc::c_uint)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's; descriptors fit an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_line() {
        let text = "pos:\t0\nflags:\t02\nlink_type:\ttcx\nlink_id:\t7\nifindex:\t42\nattach_type:\ttcx_ingress (46)\n";
        assert_eq!(parse(text), Some(42));
        assert_eq!(parse("ifindex:\t0\n"), Some(0));
        assert_eq!(parse("link_type:\txdp\n"), None);
    }
}
