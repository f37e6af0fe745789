// SPDX-License-Identifier: MIT OR Apache-2.0
//! One number that a program adds to and the bench reads.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::{Attributes, Call, call, call_for_fd};

const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// An array map of one 64-bit number.
#[derive(Debug)]
pub(in crate::bench) struct Counter {
    fd: OwnedFd,
}

#[repr(C)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct Lookup {
    fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: no pointers.
unsafe impl Attributes for Create {}
#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: `read` points at a key and a value of the sizes that the map was made with.
unsafe impl Attributes for Lookup {}

impl Counter {
    /// A new one, at zero.
    pub(in crate::bench) fn new() -> Result<Self> {
        let mut create =
            Create { kind: BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: 8, max_entries: 1, flags: 0 };
        let fd = call_for_fd(Call::MapCreate, &mut create).context("cannot make a BPF map")?;
        Ok(Self { fd })
    }

    /// Its value now.
    pub(in crate::bench) fn read(&self) -> Result<u64> {
        let key = 0_u32;
        let mut value = 0_u64;
        let mut lookup = Lookup {
            fd: self.fd.as_raw_fd().unsigned_abs(),
            padding: 0,
            key: (&raw const key) as u64,
            value: (&raw mut value) as u64,
            flags: 0,
        };
        call(Call::MapLookup, &mut lookup).context("cannot read a BPF map")?;
        Ok(value)
    }

    /// Its descriptor, for the program that adds to it.
    pub(in crate::bench) fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}
