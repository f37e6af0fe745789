// SPDX-License-Identifier: MIT OR Apache-2.0
//! Somebody else's BPF program: it counts packets and hands them on. Made without netagent's code, and without a
//! compiler.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result, anyhow};
use nix::libc;

use crate::netns::Netns;

/// include/uapi/linux/bpf.h: `enum bpf_cmd`, map and program types, flags.
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const TCX_INGRESS: u32 = 46;
const BEFORE: u32 = 1 << 3;
const AFTER: u32 = 1 << 4;

/// Where on a device's tcx ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before all that are there.
    First,
    /// Behind all that are there.
    Last,
}

/// The program, its count, and the link that holds it to a device. Dropping it takes it off.
#[derive(Debug)]
pub struct Counting {
    map: OwnedFd,
    program: OwnedFd,
    link: Option<OwnedFd>,
}

impl Counting {
    /// Loads the program.
    pub fn load() -> Result<Self> {
        let map = descriptor(MAP_CREATE, &mut [MAP_TYPE_ARRAY, 4, 8, 1, 0]).context("make a map")?;
        // r1 = the map's value; r2 = 1; lock *r1 += r2; return TC_ACT_UNSPEC, which is TCX_NEXT
        let instructions: [u64; 6] = [
            instruction(0x18, 0x21, map.as_raw_fd()),
            0,
            instruction(0xb7, 0x02, 1),
            instruction(0xdb, 0x21, 0),
            instruction(0xb7, 0x00, -1),
            instruction(0x95, 0x00, 0),
        ];
        let license = c"Dual MIT/GPL";
        let mut load = ProgramLoad {
            kind: PROG_TYPE_SCHED_CLS,
            count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            name: *b"foreign_counter\0",
            ..ProgramLoad::default()
        };
        let program = descriptor(PROG_LOAD, &mut load).context("load a program")?;
        Ok(Self { map, program, link: None })
    }

    /// Puts it on the tcx ingress of a link.
    pub fn attach(mut self, netns: &Netns, link: &str, position: Position) -> Result<Self> {
        let shown = netns.ip_json(&format!("link show {link}"))?;
        let index = shown.pointer("/0/ifindex").and_then(serde_json::Value::as_u64);
        let index = u32::try_from(index.ok_or_else(|| anyhow!("{link} has no index"))?).context("ifindex")?;
        let flags = if position == Position::First { BEFORE } else { AFTER };
        let program = self.program.as_raw_fd().cast_unsigned();
        let made = netns
            .run_inside(|| descriptor(LINK_CREATE, &mut [program, index, TCX_INGRESS, flags, 0, 0, 0, 0]))?;
        self.link = Some(made.with_context(|| format!("attach to {link}"))?);
        Ok(self)
    }

    /// Pins the program, for `tc` to find it.
    pub fn pin(&self, path: &Path) -> Result<()> {
        let name = CString::new(path.as_os_str().as_bytes()).context("path")?;
        let pathname = name.as_ptr() as u64;
        let mut pin = [pathname, u64::from(self.program.as_raw_fd().cast_unsigned())];
        call(OBJ_PIN, &mut pin).map(drop).with_context(|| format!("pin a program at {}", path.display()))
    }

    /// Packets that it has seen.
    pub fn count(&self) -> Result<u64> {
        let (key, mut value) = (0u32, 0u64);
        let map = u64::from(self.map.as_raw_fd().cast_unsigned());
        let mut lookup = [map, &raw const key as u64, &raw mut value as u64, 0];
        call(MAP_LOOKUP_ELEM, &mut lookup).context("read the count")?;
        Ok(value)
    }
}

/// `union bpf_attr`, the part of BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
}

/// `struct bpf_insn` with offset 0; `registers`: source above destination.
fn instruction(code: u8, registers: u8, immediate: i32) -> u64 {
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, 0, 0, a, b, c, d])
}

fn descriptor<A>(command: libc::c_long, attributes: &mut A) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    #[expect(unsafe_code, reason = "bpf(2) gives plain numbers")]
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<A>(command: libc::c_long, attributes: &mut A) -> io::Result<libc::c_int> {
    let size = size_of::<A>() as libc::c_uint;
    #[expect(unsafe_code, reason = "no crate of the harness wraps bpf(2)")]
    // SAFETY: the attributes have the given size; every caller here gives the layout of its command, and pointers to
    // what outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}
