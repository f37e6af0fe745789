// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loaded programs by their ids. aya finds one only among all of them, which with a thousand ports is most of a pass,
//! and its list ends in an error when one of them goes meanwhile.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use super::bpf::{self, Attributes, Command, Readout};

/// More maps than a program of ours has; of others no more than these are seen.
const MOST_MAPS: usize = 32;

/// `struct bpf_prog_info`, its beginning.
#[repr(C)]
#[derive(Default)]
struct ProgramIdentity {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    xlated_len: u32,
    jited: u64,
    xlated: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

// SAFETY: plain numbers in the kernel's order; of the pointers only `map_ids` has a length beside it, and is valid.
unsafe impl Readout for ProgramIdentity {}

#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

// SAFETY: `BPF_PROG_GET_FD_BY_ID` reads no pointers.
unsafe impl Attributes for ById {
    const COMMAND: Command = Command::ProgramFdById;
}

#[repr(C)]
struct NextId {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

// SAFETY: `BPF_PROG_GET_NEXT_ID` reads no pointers and writes into `next_id`.
unsafe impl Attributes for NextId {
    const COMMAND: Command = Command::ProgramNextId;
}

/// What tells a program from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedProgram {
    /// Its name, cut after 15 bytes.
    pub name: String,
    /// Hash of its instructions, without what its maps hold.
    pub tag: u64,
    /// The maps that it uses, by their ids.
    pub map_ids: Vec<u32>,
}

/// The ids of all programs.
///
/// # Errors
/// When the kernel refuses.
pub fn ids() -> io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    let mut next = NextId { start_id: 0, next_id: 0, open_flags: 0 };
    loop {
        match bpf::bpf(&mut next) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(ids),
            other => _ = other?,
        }
        ids.push(next.next_id);
        next.start_id = next.next_id;
    }
}

/// Looks a program up; `None` when none has this id.
///
/// # Errors
/// When the kernel refuses.
pub fn by_id(id: u32) -> io::Result<Option<LoadedProgram>> {
    let fd = match bpf::bpf(&mut ById { id, next_id: 0, open_flags: 0 }) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    // SAFETY: the descriptor is new and nobody else's.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut map_ids = [0u32; MOST_MAPS];
    let asked = ProgramIdentity {
        nr_map_ids: MOST_MAPS as u32,
        map_ids: map_ids.as_mut_ptr() as u64,
        ..ProgramIdentity::default()
    };
    let info = bpf::info(&program, asked)?;
    let count = info.nr_map_ids as usize;
    let name = info.name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(LoadedProgram {
        name: String::from_utf8_lossy(name).into_owned(),
        tag: u64::from_be_bytes(info.tag),
        map_ids: map_ids.get(..count).unwrap_or(&map_ids).to_vec(),
    }))
}
