// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pinned arrays whose values have a size that is only known when they are met: those of other versions.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use super::bpf::{self, Attributes, Command, Readout};

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

/// `struct bpf_map_info`, its beginning.
#[repr(C)]
#[derive(Default)]
struct MapShape {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

// SAFETY: plain numbers in the kernel's order.
unsafe impl Readout for MapShape {}

#[repr(C)]
struct Element<const WRITE: bool> {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

// SAFETY: `BPF_MAP_LOOKUP_ELEM` reads a key and writes a value of the map's sizes, which `RawArray` keeps.
unsafe impl Attributes for Element<false> {
    const COMMAND: Command = Command::MapLookup;
}

// SAFETY: `BPF_MAP_UPDATE_ELEM` reads a key and a value of the map's sizes, which `RawArray` keeps.
unsafe impl Attributes for Element<true> {
    const COMMAND: Command = Command::MapUpdate;
}

/// An array by its pin.
#[derive(Debug)]
pub struct RawArray {
    fd: OwnedFd,
    id: u32,
    value_size: usize,
    entries: u32,
}

impl RawArray {
    /// Opens the array that is pinned there.
    ///
    /// # Errors
    /// When the pin cannot be opened, or is no array with keys of four bytes.
    pub fn open(pin: &Path) -> io::Result<Self> {
        let fd = bpf::open_pin(pin)?;
        let info = bpf::info(&fd, MapShape::default())?;
        if (info.kind, info.key_size as usize) != (ARRAY, size_of::<u32>()) {
            return Err(io::Error::other("not an array"));
        }
        Ok(Self { fd, id: info.id, value_size: info.value_size as usize, entries: info.max_entries })
    }

    /// Its id in the kernel.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How many values it has.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The value at `key`, as long as the map's values are.
    ///
    /// # Errors
    /// When the key is out of bounds.
    pub fn get(&self, key: u32) -> io::Result<Vec<u8>> {
        let mut value = vec![0u8; self.value_size];
        bpf::bpf(&mut self.element::<false>(&key, value.as_mut_ptr()))?;
        Ok(value)
    }

    /// Fills the value at `key` with zeros.
    ///
    /// # Errors
    /// When the key is out of bounds.
    pub fn clear(&self, key: u32) -> io::Result<()> {
        let mut value = vec![0u8; self.value_size];
        bpf::bpf(&mut self.element::<true>(&key, value.as_mut_ptr())).map(drop)
    }

    fn element<const WRITE: bool>(&self, key: &u32, value: *mut u8) -> Element<WRITE> {
        Element {
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: std::ptr::from_ref(key) as u64,
            value: value as u64,
            flags: 0,
        }
    }
}
