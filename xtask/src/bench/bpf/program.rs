// SPDX-License-Identifier: MIT OR Apache-2.0
//! A loaded program, and what the kernel tells of it: instructions, runs, time.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{Attributes, Call, call, call_for_fd, insn::Insn};

const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
/// bpf_redirect_peer is for GPL-compatible programs only.
const LICENSE: &[u8] = b"GPL\0";
const LOG_BYTES: usize = 16 << 10;

/// A program in the kernel, as long as it is held or attached.
#[derive(Debug)]
pub(in crate::bench) struct Program {
    fd: OwnedFd,
}

/// What the kernel knows of a program (`struct bpf_prog_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Facts {
    /// Instructions that the verifier walked, over all paths; 0 before kernel 5.16, which does not tell.
    pub(in crate::bench) verified_instructions: u32,
    /// Instructions after the verifier's rewriting.
    pub(in crate::bench) instructions: u32,
    /// Bytes of machine code; 0 without a JIT.
    pub(in crate::bench) jited_bytes: u32,
    /// Runs while statistics were on.
    pub(in crate::bench) runs: u64,
    /// Nanoseconds of these runs.
    pub(in crate::bench) run_ns: u64,
}

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    insn_count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct FdById {
    id: u32,
    next_id: u32,
    flags: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    size: u32,
    info: u64,
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `struct bpf_prog_info` up to `verified_insns`. What the kernel does not know stays zero; with no room given it
/// writes no lists.
#[repr(C)]
#[derive(Default)]
struct ProgramDescription {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    xlated_len: u32,
    lists: [u64; 21],
    run_time_ns: u64,
    run_count: u64,
    recursion_misses: u64,
    verified_insns: u32,
    padding: u32,
}

#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: `load` points insns, license and log at memory that outlives the call, with the sizes given.
unsafe impl Attributes for Load {}
#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: no pointers.
unsafe impl Attributes for FdById {}
#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: `facts` points at a description of the size given.
unsafe impl Attributes for InfoByFd {}
#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: `pin` points at a path that ends with a zero.
unsafe impl Attributes for Pin {}

impl Program {
    /// Loads a tc classifier.
    pub(in crate::bench) fn load(name: &str, insns: &[Insn]) -> Result<Self> {
        let mut log = vec![0_u8; LOG_BYTES];
        let mut load = Load {
            kind: BPF_PROG_TYPE_SCHED_CLS,
            insn_count: u32::try_from(insns.len()).context("program length")?,
            insns: insns.as_ptr() as u64,
            license: LICENSE.as_ptr() as u64,
            log_level: 1,
            log_size: LOG_BYTES as u32,
            log: log.as_mut_ptr() as u64,
            ..Load::default()
        };
        // The last byte stays zero.
        for (to, from) in load.name.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        let fd = call_for_fd(Call::ProgLoad, &mut load).with_context(|| {
            let said = String::from_utf8_lossy(&log);
            let said = said.trim_end_matches('\0').trim();
            format!(
                "the kernel does not take the BPF program {name}{}{said}",
                if said.is_empty() { "" } else { ": " }
            )
        })?;
        Ok(Self { fd })
    }

    /// The program with this id, whoever loaded it.
    pub(in crate::bench) fn by_id(id: u32) -> Result<Self> {
        let fd = call_for_fd(Call::ProgFdById, &mut FdById { id, next_id: 0, flags: 0 })
            .with_context(|| format!("cannot open BPF program {id}"))?;
        Ok(Self { fd })
    }

    /// What the kernel knows of it now.
    pub(in crate::bench) fn facts(&self) -> Result<Facts> {
        let mut description = ProgramDescription::default();
        let mut query = InfoByFd {
            fd: self.number(),
            size: size_of::<ProgramDescription>() as u32,
            info: (&raw mut description) as u64,
        };
        call(Call::ObjInfoByFd, &mut query).context("cannot ask for a BPF program's description")?;
        Ok(Facts {
            verified_instructions: description.verified_insns,
            instructions: description.xlated_len / size_of::<Insn>() as u32,
            jited_bytes: description.jited_len,
            runs: description.run_count,
            run_ns: description.run_time_ns,
        })
    }

    /// Pins it, for tools that take a program by path.
    pub(in crate::bench) fn pin(&self, path: &Path) -> Result<()> {
        if path.exists() {
            fs::remove_file(path).with_context(|| format!("cannot remove the pin {}", path.display()))?;
        }
        let mut name = path.as_os_str().as_encoded_bytes().to_vec();
        name.push(0);
        call(Call::ObjPin, &mut Pin { path: name.as_ptr() as u64, fd: self.number(), flags: 0 })
            .with_context(|| format!("cannot pin a BPF program at {}", path.display()))?;
        Ok(())
    }

    /// Its descriptor as the attributes of bpf(2) carry it.
    pub(super) fn number(&self) -> u32 {
        // A descriptor is never negative.
        self.fd.as_raw_fd().unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_layouts_are_the_kernel_s() {
        assert_eq!(size_of::<Load>(), 64);
        assert_eq!(offset_of!(ProgramDescription, run_time_ns), 192);
        assert_eq!(offset_of!(ProgramDescription, verified_insns), 216);
    }
}
