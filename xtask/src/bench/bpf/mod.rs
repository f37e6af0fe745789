// SPDX-License-Identifier: MIT OR Apache-2.0
//! The few bpf(2) calls the comparison needs: small programs, a counter they add to, and what the kernel tells of any
//! program. No loader: what is compared with must cost nothing but its own instructions.

pub(super) mod attach;
pub(super) mod counter;
pub(super) mod insn;
pub(super) mod program;
pub(super) mod stats;

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use nix::libc;

/// `enum bpf_cmd`, include/uapi/linux/bpf.h.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
enum Call {
    MapCreate = 0,
    MapLookup = 1,
    ProgLoad = 5,
    ObjPin = 6,
    ProgFdById = 13,
    ObjInfoByFd = 15,
    ProgQuery = 16,
    LinkCreate = 28,
    EnableStats = 32,
}

/// A `repr(C)` struct that is the beginning of `union bpf_attr` for one call.
///
/// # Safety
/// Every pointer in it must be valid for what the call reads and writes.
#[expect(unsafe_code, reason = "the kernel follows the pointers in the attributes")]
unsafe trait Attributes: Sized {}

/// bpf(2).
fn call<A: Attributes>(call: Call, attributes: &mut A) -> io::Result<i64> {
    let size = size_of::<A>() as libc::c_uint;
    #[expect(unsafe_code, reason = "no crate here wraps bpf(2)")]
    // SAFETY: `attributes` is `size` bytes and outlives the call; its pointers are valid by the trait's contract.
    let result = unsafe { libc::syscall(libc::SYS_bpf, call as libc::c_long, attributes, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// bpf(2) for the calls that give a descriptor.
fn call_for_fd<A: Attributes>(which: Call, attributes: &mut A) -> io::Result<OwnedFd> {
    let number = call(which, attributes)?;
    let number = i32::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    #[expect(unsafe_code, reason = "the descriptor comes from a system call")]
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
