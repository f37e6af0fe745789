// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the XDP programs send to: devmaps, whose entries hold a device and not its index.

use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{DevMap, Map, MapData, MapError, xdp::XdpMapError};

use super::{Datapath, DatapathError, Pins};
use crate::{
    core::observed::{Target, Targets},
    sys::netns::Netns,
};

pub(super) const TO_POD_LINK: &str = "TO_POD_LINK";
pub(super) const TO_TAP: &str = "TO_TAP";

type Devices = Arc<Mutex<DevMap<MapData>>>;

/// The two devmaps, by slot.
pub(super) struct TargetMaps {
    pod_links: Devices,
    taps: Devices,
}

impl TargetMaps {
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        let open = |name: &'static str| -> Result<Devices, DatapathError> {
            let failed = DatapathError::map("open", name);
            let data = MapData::from_pin(pins.map(name)).map_err(&failed)?;
            Ok(Arc::new(Mutex::new(DevMap::try_from(Map::DevMap(data)).map_err(&failed)?)))
        };
        Ok(Self { pod_links: open(TO_POD_LINK)?, taps: open(TO_TAP)? })
    }

    fn of(&self, target: Target) -> (&'static str, &Devices) {
        match target {
            Target::PodLink => (TO_POD_LINK, &self.pod_links),
            Target::Tap => (TO_TAP, &self.taps),
        }
    }
}

impl Datapath {
    /// The devices that the XDP programs of a slot send to.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn targets(&self, slot: u32) -> Result<Targets, DatapathError> {
        let get = |target| {
            let (name, devices) = self.shared.targets.of(target);
            match devices.lock().unwrap_or_else(PoisonError::into_inner).get(slot, 0) {
                Ok(device) => Ok(Some(device.if_index)),
                Err(MapError::KeyNotFound) => Ok(None),
                Err(e) => Err(DatapathError::map("read", name)(e)),
            }
        };
        Ok(Targets { pod_link: get(Target::PodLink)?, tap: get(Target::Tap)? })
    }

    /// Has the XDP programs of a slot send to a device of the port's namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered or there is no such device.
    pub async fn set_target(
        &self,
        netns: &Netns,
        slot: u32,
        target: Target,
        ifindex: u32,
    ) -> Result<(), DatapathError> {
        let (name, devices) = self.shared.targets.of(target);
        let devices = Arc::clone(devices);
        // The kernel looks the index up in the namespace of the thread that writes.
        netns.run(move || put(&devices, slot, ifindex)).await?.map_err(|e| refused(name, e))
    }

    /// Has the XDP programs of a slot send nowhere.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn clear_target(&self, slot: u32, target: Target) -> Result<(), DatapathError> {
        let (name, devices) = self.shared.targets.of(target);
        // Index 0 is no device: the entry is emptied (`__dev_map_update_elem`, kernel/bpf/devmap.c).
        put(devices, slot, 0).map_err(|e| refused(name, e))
    }
}

fn put(devices: &Devices, slot: u32, ifindex: u32) -> Result<(), XdpMapError> {
    devices.lock().unwrap_or_else(PoisonError::into_inner).set(slot, ifindex, None, 0)
}

fn refused(name: &'static str, error: XdpMapError) -> DatapathError {
    DatapathError::Target { map: name, source: Box::new(error) }
}
