// SPDX-License-Identifier: MIT OR Apache-2.0
//! Somebody else's BPF program on a link: two instructions that give every frame the same verdict.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{libc, net::if_::if_nametoindex};

use crate::netns::Netns;

// include/uapi/linux/bpf.h: enum bpf_cmd, bpf_prog_type, bpf_attach_type; XDP_FLAGS_* of if_link.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const XDP_FLAGS_DRV_MODE: u32 = 4;
const XDP_DROP: i32 = 1;
const TCX_NEXT: i32 = -1;

/// Where it is, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stub {
    /// Native XDP that drops everything.
    NativeXdpDrop,
    /// Generic XDP that drops everything.
    GenericXdpDrop,
    /// tcx on egress that has no opinion.
    TcxEgressNext,
}

/// A program on a link. Dropping it takes it off.
#[derive(Debug)]
pub struct AttachedStub {
    _link: OwnedFd,
}

/// `union bpf_attr`, the part of BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    kern_version: u32,
    prog_flags: u32,
}

/// `union bpf_attr`, the part of BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 4],
}

impl Stub {
    /// Puts it on a link.
    pub fn attach(self, netns: &Netns, link: &str) -> Result<AttachedStub> {
        netns.run_inside(|| self.attach_here(link))?.with_context(|| format!("cannot put {self:?} on {link}"))
    }

    fn attach_here(self, link: &str) -> Result<AttachedStub> {
        let (prog_type, attach_type, flags, verdict) = match self {
            Self::NativeXdpDrop => (PROG_TYPE_XDP, ATTACH_XDP, XDP_FLAGS_DRV_MODE, XDP_DROP),
            Self::GenericXdpDrop => (PROG_TYPE_XDP, ATTACH_XDP, XDP_FLAGS_SKB_MODE, XDP_DROP),
            Self::TcxEgressNext => (PROG_TYPE_SCHED_CLS, ATTACH_TCX_EGRESS, 0, TCX_NEXT),
        };
        let program = load(prog_type, verdict).context("BPF_PROG_LOAD")?;
        let mut create = LinkCreate {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: if_nametoindex(link).context("look up the link")?,
            attach_type,
            flags,
            rest: [0; 4],
        };
        #[expect(unsafe_code, reason = "no crate of the harness wraps bpf(2)")]
        // SAFETY: `create` has the size that is given and outlives the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_LINK_CREATE,
                &raw mut create,
                size_of::<LinkCreate>() as libc::c_uint,
            )
        };
        Ok(AttachedStub { _link: owned(fd).context("BPF_LINK_CREATE")? })
    }
}

/// `r0 = verdict; exit`.
fn load(prog_type: u32, verdict: i32) -> io::Result<OwnedFd> {
    let mut first = [0xb7u8, 0, 0, 0, 0, 0, 0, 0];
    first[4..].copy_from_slice(&verdict.to_ne_bytes());
    let instructions = [first, [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let license = c"Dual MIT/GPL";
    let mut load = ProgLoad {
        prog_type,
        insn_cnt: 2,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..ProgLoad::default()
    };
    #[expect(unsafe_code, reason = "no crate of the harness wraps bpf(2)")]
    // SAFETY: `load` has the size that is given; what it points to outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw mut load, size_of::<ProgLoad>() as libc::c_uint)
    };
    owned(fd)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "the system call gives a bare number")]
    // SAFETY: the descriptor is new and nobody else's; descriptors fit an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
