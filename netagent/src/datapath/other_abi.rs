// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports that another version wired: which slot each has, and until when its settings are read.
//!
//! Every version pins the map with its ports' settings under its own name, and all of them begin with the same
//! [head](HEAD). So a version reads out of any other's map whose each slot is, gives that port the same slot, and with
//! it the same counters, bucket and ring; then it puts its programs in the place of the other's.

use std::{collections::BTreeSet, path::PathBuf};

use netagent_common::maps::{ACTIVE, HEAD, Port};
use tracing::warn;

use super::{DatapathError, Pins, rules};
use crate::sys::{bpf_array::RawArray, bpf_program};

/// Another version's map of ports.
pub(super) struct OtherPorts {
    abi: u32,
    pin: PathBuf,
    array: RawArray,
}

impl OtherPorts {
    /// All that are pinned. What has such a name and is not such a map is left alone.
    pub(super) fn open_all(pins: &Pins) -> Result<Vec<Self>, DatapathError> {
        let mut found = Vec::new();
        for abi in pins.other_versions()? {
            let pin = pins.ports_map(abi);
            match RawArray::open(&pin) {
                Ok(array) => found.push(Self { abi, pin, array }),
                Err(error) => warn!(pin = %pin.display(), %error, "no map of ports; left alone"),
            }
        }
        Ok(found)
    }

    /// Its id in the kernel.
    pub(super) fn id(&self) -> u32 {
        self.array.id()
    }

    /// The slots that are in use, and of whom: an entry of which only the head is filled in.
    pub(super) fn heads(&self) -> Result<Vec<(u32, Port)>, DatapathError> {
        let mut heads = Vec::new();
        for slot in 0..self.array.entries() {
            let value = self.array.get(slot).map_err(self.failed("read"))?;
            let port = head(&value);
            if port.flags & ACTIVE != 0 {
                heads.push((slot, port));
            }
        }
        Ok(heads)
    }

    /// Frees a slot.
    pub(super) fn clear(&self, slot: u32) -> Result<(), DatapathError> {
        if slot >= self.array.entries() {
            return Ok(());
        }
        self.array.clear(slot).map_err(self.failed("write"))
    }

    /// Removes its pin; the map goes with the last program that reads it.
    pub(super) fn remove(&self, pins: &Pins) -> Result<(), DatapathError> {
        pins.remove_version(self.abi)
    }

    fn failed(&self, operation: &'static str) -> impl Fn(std::io::Error) -> DatapathError {
        let path = self.pin.clone();
        move |source| DatapathError::OtherMap { operation, path: path.clone(), source }
    }
}

/// The head of another version's entry; without a port when the value is too short for one.
fn head(value: &[u8]) -> Port {
    let mut port: Port = bytemuck::Zeroable::zeroed();
    if let (Some(from), Some(to)) = (value.get(..HEAD), bytemuck::bytes_of_mut(&mut port).get_mut(..HEAD)) {
        to.copy_from_slice(from);
    }
    port
}

/// The maps of all programs in the kernel that are attached somewhere, by their ids. A program that ports share does not
/// count: it is there for theirs.
pub(super) fn maps_in_use() -> Result<BTreeSet<u32>, DatapathError> {
    let mut used = BTreeSet::new();
    for id in bpf_program::ids().map_err(DatapathError::Programs)? {
        let program = bpf_program::by_id(id).map_err(|source| DatapathError::Program { id, source })?;
        let program =
            program.filter(|program| !rules::PROGRAMS.iter().any(|(symbol, _)| program.name == *symbol));
        used.extend(program.into_iter().flat_map(|program| program.map_ids));
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_from_shorter_and_from_longer_entries() {
        let mut port: Port = bytemuck::Zeroable::zeroed();
        (port.netns_ino, port.flags, port.pod_ifname[0]) = (7, ACTIVE, b'e');
        for length in [HEAD, size_of::<Port>(), size_of::<Port>() + 64] {
            let mut value = bytemuck::bytes_of(&port).to_vec();
            value.resize(length, 0xff);
            assert_eq!(head(&value), port, "{length}");
        }
        assert_eq!(head(&[0xff; HEAD - 1]).flags, 0);
    }
}
