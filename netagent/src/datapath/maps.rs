// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pinned maps: their layout checked before use, their entries by slot.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, MapData, MapInfo, MapType, PerCpuArray, PerCpuValues};
use netagent_common::{
    counters::PortCounters,
    maps::{ACTIVE, Bucket, Learned, MAX_PORTS, Port, SHARED_PROGRAMS},
};

use super::{
    DatapathError, Pins,
    other_abi::OtherPorts,
    rules::RULES,
    targets::{TO_POD_LINK, TO_TAP},
};

pub(super) const PORTS: &str = "PORTS";
const COUNTERS: &str = "COUNTERS";
const BUCKETS: &str = "BUCKETS";
const LEARNED: &str = "LEARNED";
pub(super) const PUNT: &str = "PUNT";

/// What a program's constants are kept in: the slot, and nothing else.
const CONSTANTS: &str = ".rodata";

/// Bytes of a devmap's value: index and program (`struct bpf_devmap_val`, include/uapi/linux/bpf.h).
const DEVICE: usize = 8;

/// Every map of the object.
pub(super) const NAMES: [&str; 8] = [PORTS, RULES, COUNTERS, BUCKETS, LEARNED, PUNT, TO_POD_LINK, TO_TAP];

// Values as plain bytes: what aya copies, without a word about their type.
type RawPort = [u8; size_of::<Port>()];
type RawCounters = [u8; size_of::<PortCounters>()];
type RawBucket = [u8; size_of::<Bucket>()];
type RawLearned = [u8; size_of::<Learned>()];

/// Port settings and counters, by slot.
pub struct Maps {
    ports_id: u32,
    ports: Mutex<Array<MapData, RawPort>>,
    counters: Mutex<PerCpuArray<MapData, RawCounters>>,
    buckets: Mutex<Array<MapData, RawBucket>>,
    learned: Mutex<Array<MapData, RawLearned>>,
    others: Mutex<Vec<OtherPorts>>,
    departed: Mutex<PortCounters>,
}

impl Maps {
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        let pinned =
            |name: &'static str| MapData::from_pin(pins.map(name)).map_err(DatapathError::map("open", name));
        let info =
            MapInfo::from_pin(pins.map(PORTS)).map_err(DatapathError::map("read the layout of", PORTS))?;
        let maps = Self {
            ports_id: info.id(),
            ports: Mutex::new(
                Array::try_from(aya::maps::Map::Array(pinned(PORTS)?))
                    .map_err(DatapathError::map("open", PORTS))?,
            ),
            counters: Mutex::new(
                PerCpuArray::try_from(aya::maps::Map::PerCpuArray(pinned(COUNTERS)?))
                    .map_err(DatapathError::map("open", COUNTERS))?,
            ),
            buckets: Mutex::new(
                Array::try_from(aya::maps::Map::Array(pinned(BUCKETS)?))
                    .map_err(DatapathError::map("open", BUCKETS))?,
            ),
            learned: Mutex::new(
                Array::try_from(aya::maps::Map::Array(pinned(LEARNED)?))
                    .map_err(DatapathError::map("open", LEARNED))?,
            ),
            others: Mutex::new(OtherPorts::open_all(pins)?),
            departed: Mutex::default(),
        };
        maps.take_over()?;
        Ok(maps)
    }

    /// Gives every port of another version its slot here, before a slot is given to anybody else. The settings follow
    /// when the port is wired; until then its programs read the other map.
    fn take_over(&self) -> Result<(), DatapathError> {
        for other in held(&self.others).iter() {
            for (slot, head) in other.heads()? {
                if slot < MAX_PORTS && self.entry(slot)?.is_none() {
                    self.write_entry(slot, &head)?;
                }
            }
        }
        Ok(())
    }

    /// Lets go of other versions' settings that no program reads any more; returns how many are still read. Those stay,
    /// and so do their ports on the other version's programs.
    ///
    /// # Errors
    /// When programs cannot be listed or a pin not removed.
    pub fn release_others(&self, pins: &Pins) -> Result<usize, DatapathError> {
        let mut others = held(&self.others);
        if others.is_empty() {
            return Ok(0);
        }
        let used = super::other_abi::maps_in_use()?;
        for other in others.iter().filter(|other| !used.contains(&other.id())) {
            other.remove(pins)?;
        }
        others.retain(|other| used.contains(&other.id()));
        Ok(others.len())
    }

    /// Whether a program with these maps reads the settings that are written here, and those of `slot`.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub(super) fn belongs_to_slot(&self, map_ids: &[u32], slot: u32) -> Result<bool, DatapathError> {
        if !map_ids.contains(&self.ports_id) {
            return Ok(false);
        }
        let failed = DatapathError::map("read", CONSTANTS);
        for id in map_ids {
            let info = MapInfo::from_id(*id).map_err(&failed)?;
            if info.name_as_str().is_some_and(|name| name.ends_with(CONSTANTS)) {
                if info.value_size() as usize != size_of::<u32>() {
                    return Ok(false);
                }
                let data = MapData::from_id(*id).map_err(&failed)?;
                let constants: Array<MapData, u32> =
                    Array::try_from(aya::maps::Map::Array(data)).map_err(&failed)?;
                return Ok(constants.get(&0, 0).map_err(&failed)? == slot);
            }
        }
        Ok(false)
    }

    /// The entries in use, with their slots.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn entries(&self) -> Result<Vec<(u32, Port)>, DatapathError> {
        let ports = held(&self.ports);
        let mut entries = Vec::new();
        for slot in 0..MAX_PORTS {
            let raw = ports.get(&slot, 0).map_err(DatapathError::map("read", PORTS))?;
            let port: Port = bytemuck::cast(raw);
            if port.flags & ACTIVE != 0 {
                entries.push((slot, port));
            }
        }
        Ok(entries)
    }

    /// The entry of a slot, `None` for a free one.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn entry(&self, slot: u32) -> Result<Option<Port>, DatapathError> {
        let raw = held(&self.ports).get(&slot, 0).map_err(DatapathError::map("read", PORTS))?;
        let port: Port = bytemuck::cast(raw);
        Ok((port.flags & ACTIVE != 0).then_some(port))
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn write_entry(&self, slot: u32, port: &Port) -> Result<(), DatapathError> {
        let raw: RawPort = bytemuck::cast(*port);
        held(&self.ports).set(slot, raw, 0).map_err(DatapathError::map("write", PORTS))
    }

    /// Frees a slot: no settings, and counters, bucket and learned address as new for the next port.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub fn erase_entry(&self, slot: u32) -> Result<(), DatapathError> {
        // Settings first: a program that still runs drops everything from now on.
        held(&self.ports).set(slot, [0; size_of::<Port>()], 0).map_err(DatapathError::map("write", PORTS))?;
        // In every version's map: after a rollback the slot must not seem to be this port's.
        held(&self.others).iter().try_for_each(|other| other.clear(slot))?;
        let mut counters = held(&self.counters);
        let last = counters.get(&slot, 0).map_err(DatapathError::map("read", COUNTERS))?;
        let zero = PerCpuValues::try_from(vec![[0; size_of::<PortCounters>()]; last.len()])
            .map_err(|e| DatapathError::map("write", COUNTERS)(e.into()))?;
        counters.set(slot, zero, 0).map_err(DatapathError::map("write", COUNTERS))?;
        held(&self.departed).merge(&sum(&last));
        held(&self.buckets)
            .set(slot, [0; size_of::<Bucket>()], 0)
            .map_err(DatapathError::map("write", BUCKETS))?;
        held(&self.learned)
            .set(slot, [0; size_of::<Learned>()], 0)
            .map_err(DatapathError::map("write", LEARNED))
    }

    /// A port's counters, summed over the CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self, slot: u32) -> Result<PortCounters, DatapathError> {
        let per_cpu = held(&self.counters).get(&slot, 0).map_err(DatapathError::map("read", COUNTERS))?;
        Ok(sum(&per_cpu))
    }

    /// What the ports that this agent took off had counted, all in one: with the living ones' it never falls.
    pub fn departed(&self) -> PortCounters {
        *held(&self.departed)
    }
}

fn sum(per_cpu: &PerCpuValues<RawCounters>) -> PortCounters {
    let mut sum = PortCounters::default();
    for raw in per_cpu.iter() {
        sum.merge(&bytemuck::pod_read_unaligned(raw));
    }
    sum
}

/// A map call leaves nothing half done in the process, so a poisoned lock guards nothing broken.
fn held<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compares every map that is pinned already with what this agent would make. aya takes a pinned map for what it is
/// told it is; a larger value would be written past the end of the agent's buffer.
pub(super) fn check_layouts(pins: &Pins) -> Result<(), DatapathError> {
    let four = size_of::<u32>();
    let expected = [
        (PORTS, MapType::Array, four, size_of::<Port>(), Some(MAX_PORTS)),
        (RULES, MapType::ProgramArray, four, four, Some(SHARED_PROGRAMS)),
        (COUNTERS, MapType::PerCpuArray, four, size_of::<PortCounters>(), Some(MAX_PORTS)),
        (BUCKETS, MapType::Array, four, size_of::<Bucket>(), Some(MAX_PORTS)),
        (LEARNED, MapType::Array, four, size_of::<Learned>(), Some(MAX_PORTS)),
        (TO_POD_LINK, MapType::DevMap, four, DEVICE, Some(MAX_PORTS)),
        (TO_TAP, MapType::DevMap, four, DEVICE, Some(MAX_PORTS)),
        // The ring's size is its own affair: records carry their length.
        (PUNT, MapType::RingBuf, 0, 0, None),
    ];
    for (name, kind, key, value, entries) in expected {
        let path = pins.map(name);
        if !path.exists() {
            continue;
        }
        let failed = DatapathError::map("read the layout of", name);
        let info = MapInfo::from_pin(&path).map_err(&failed)?;
        let have_kind = info.map_type().map_err(&failed)?;
        let have = (info.key_size() as usize, info.value_size() as usize, info.max_entries());
        let fits = have_kind == kind
            && (have.0, have.1) == (key, value)
            && entries.is_none_or(|entries| entries == have.2);
        if !fits {
            let text = |kind, (key, value, entries)| {
                format!("type {kind:?}, key {key} B, value {value} B, {entries} entries")
            };
            return Err(DatapathError::Layout {
                path,
                have: text(have_kind, have),
                want: text(kind, (key, value, entries.unwrap_or(have.2))),
            });
        }
    }
    Ok(())
}
