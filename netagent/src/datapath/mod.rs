// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs and their maps in the kernel: load, attach, pin, read. aya is seen here alone.

mod error;
mod maps;
mod object;
mod other_abi;
mod pins;
mod programs;
mod punt;
mod rules;
mod targets;
mod xdp;

use std::{collections::BTreeMap, path::Path, sync::Arc};

pub use error::DatapathError;
pub use maps::Maps;
pub use object::{Feature, Object, verified};
pub use pins::Pins;
pub use programs::{LinkPin, Place, Stock};
pub use punt::PuntRing;
use targets::TargetMaps;

use crate::{
    core::{program::Program, tier::KernelFeatures},
    sys::bpffs::{self, BpffsLock},
};

/// Everything of netagent in the kernel, except what rtnetlink does. Only one process can have it open.
#[derive(Clone)]
pub struct Datapath {
    shared: Arc<Shared>,
}

struct Shared {
    object: Object,
    pins: Pins,
    maps: Maps,
    targets: TargetMaps,
    features: KernelFeatures,
    tags: BTreeMap<Program, u64>,
    _lock: BpffsLock,
}

impl Datapath {
    /// Takes the pins below `bpffs` for this process, makes the maps or finds them again, and loads every program
    /// once to see that this kernel takes them.
    ///
    /// # Errors
    /// When the BPF filesystem is not usable, another agent has it, a pinned map has another layout, or the kernel
    /// refuses a program.
    pub fn open(bpffs: &Path, lacking: &[Feature]) -> Result<Self, DatapathError> {
        let pins = Pins::below(bpffs);
        bpffs::make_directory(bpffs, pins.directory())?;
        let lock = bpffs::lock(pins.directory())?;
        let mut features = object::probe(lacking)?;
        let object = Object::new();
        maps::check_layouts(&pins)?;
        let tags = object.put_up(&pins, features)?;
        features.xdp &= Program::ALL.iter().all(|program| tags.contains_key(program));
        let maps = Maps::open(&pins)?;
        let targets = TargetMaps::open(&pins)?;
        Ok(Self { shared: Arc::new(Shared { object, pins, maps, targets, features, tags, _lock: lock }) })
    }

    /// What this kernel can do.
    pub fn features(&self) -> KernelFeatures {
        self.shared.features
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.shared.maps
    }

    /// The pins.
    pub fn pins(&self) -> &Pins {
        &self.shared.pins
    }

    /// Tag of this agent's `program`: what tells it from another version's. `None` for one that this kernel cannot load.
    pub fn tag(&self, program: Program) -> Option<u64> {
        self.shared.tags.get(&program).copied()
    }

    /// The frames that programs hand to the agent.
    ///
    /// # Errors
    /// When the ring cannot be opened.
    pub fn punt_ring(&self) -> Result<PuntRing, DatapathError> {
        PuntRing::open(&self.shared.pins)
    }
}
