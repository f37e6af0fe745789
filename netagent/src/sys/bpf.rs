// SPDX-License-Identifier: MIT OR Apache-2.0
//! bpf(2) itself, for the few questions that aya does not ask. Numbers and layouts: include/uapi/linux/bpf.h.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
pub(super) enum Command {
    MapLookup = 1,
    MapUpdate = 2,
    ObjectGet = 7,
    ProgramNextId = 11,
    ProgramFdById = 13,
    ObjectInfo = 15,
    LinkDetach = 34,
}

/// The part of `union bpf_attr` that a command reads. What lies behind it the kernel takes for zero.
///
/// # Safety
/// The type has the kernel's layout for its [`COMMAND`](Self::COMMAND), without padding, and its pointers are valid for
/// what the command does with them.
pub(super) unsafe trait Attributes {
    const COMMAND: Command;
}

/// Carries out a command; its result is a descriptor or 0.
pub(super) fn bpf<A: Attributes>(attributes: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attributes have the size that is given and live through the call; the rest `Attributes` promises.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            A::COMMAND as libc::c_long,
            std::ptr::from_mut(attributes),
            size_of::<A>() as libc::c_uint,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

#[repr(C)]
#[derive(Default)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

// SAFETY: `BPF_OBJ_GET` reads a path, which `open_pin` keeps.
unsafe impl Attributes for ObjectGet {
    const COMMAND: Command = Command::ObjectGet;
}

/// Opens what is pinned at a path.
pub(super) fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = ObjectGet { pathname: path.as_ptr() as u64, ..ObjectGet::default() };
    let fd = bpf(&mut get)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What `BPF_OBJ_GET_INFO_BY_FD` fills in.
///
/// # Safety
/// The type is a beginning of the kernel's `struct bpf_*_info` for the object, any bytes are a value of it, and its
/// pointers are null or valid for the length beside them.
pub(super) unsafe trait Readout: Default {}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

// SAFETY: `BPF_OBJ_GET_INFO_BY_FD` writes as far as `info_len` into `info`, which `info` below keeps.
unsafe impl Attributes for InfoByFd {
    const COMMAND: Command = Command::ObjectInfo;
}

/// Asks for an object's info; `asked` holds what the kernel is to read, as pointers to fill.
pub(super) fn info<I: Readout>(object: &OwnedFd, mut asked: I) -> io::Result<I> {
    bpf(&mut InfoByFd {
        bpf_fd: object.as_raw_fd().cast_unsigned(),
        info_len: size_of::<I>() as u32,
        info: (&raw mut asked) as u64,
    })?;
    Ok(asked)
}
