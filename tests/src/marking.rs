// SPDX-License-Identifier: MIT OR Apache-2.0
//! Somebody else's tc program: four instructions that mark a packet and let the next program decide.

use std::{
    ffi::CString,
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};
use nix::libc;

/// include/uapi/linux/bpf.h: `enum bpf_cmd`, `enum bpf_prog_type`.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
/// `TC_ACT_UNSPEC`: the next filter decides.
const NEXT: u32 = u32::MAX;
/// Offset of `mark` in `struct __sk_buff`.
const MARK_OFFSET: u64 = 8;

/// `union bpf_attr`, the start of BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `union bpf_attr`, the start of BPF_OBJ_PIN.
#[repr(C)]
#[derive(Default)]
struct Pin {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Loads a program that sets `skb->mark` to `mark`, and pins it to `path` on a bpffs.
pub fn pin(mark: u32, path: &Path) -> Result<()> {
    let instructions = [
        instruction(0xb7, 0x2, 0, mark),
        instruction(0x63, 0x21, MARK_OFFSET, 0),
        instruction(0xb7, 0x0, 0, NEXT),
        instruction(0x95, 0, 0, 0),
    ];
    let mut load = Load {
        prog_type: BPF_PROG_TYPE_SCHED_CLS,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        ..Load::default()
    };
    for (place, byte) in load.prog_name.iter_mut().zip(b"others_mark") {
        *place = *byte;
    }
    let program = bpf(BPF_PROG_LOAD, &mut load).context("cannot load a program that marks packets")?;
    #[expect(unsafe_code, reason = "the descriptor is a plain number until it is owned")]
    // SAFETY: the descriptor is new and nobody else's.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let pathname = CString::new(path.as_os_str().as_encoded_bytes()).context("a path with a zero in it")?;
    let mut pin = Pin {
        pathname: pathname.as_ptr() as u64,
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        file_flags: 0,
    };
    bpf(BPF_OBJ_PIN, &mut pin)
        .with_context(|| format!("cannot pin a program to {}", path.display()))
        .map(drop)
}

/// `struct bpf_insn`: code, registers (source high, destination low), offset, immediate.
const fn instruction(code: u64, registers: u64, offset: u64, immediate: u32) -> u64 {
    code | registers << 8 | offset << 16 | (immediate as u64) << 32
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_int> {
    #[expect(unsafe_code, reason = "no crate of the harness wraps bpf(2)")]
    // SAFETY: the attributes have the layout of the command and the size that is given; what they point to outlives the
    // call, and the kernel only reads it.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>() as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
