// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong with programs, maps and pins.

use std::{io, path::PathBuf};

use crate::{
    core::{ids::IfName, program::Program},
    sys::{bpffs::BpffsError, netns::NetnsError},
};

/// An operation on the datapath that failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The BPF filesystem.
    #[error(transparent)]
    Bpffs(#[from] BpffsError),
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel's abilities could not be found out.
    #[error("probe the kernel for {feature}")]
    Probe {
        /// What was looked for.
        feature: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// The embedded object does not load.
    #[error("load the eBPF object")]
    Object(#[source] Box<aya::EbpfError>),
    /// There are no so many ports.
    #[error("slot {0} is none of the {max}", max = netagent_common::maps::MAX_PORTS)]
    NoSlot(u32),
    /// The object lacks a program: it was not built from this source.
    #[error("the eBPF object has no program {0}")]
    NoProgram(&'static str),
    /// The kernel refused a program.
    #[error("load program {program}")]
    Load {
        /// Which, by its symbol.
        program: &'static str,
        /// The verifier's last words are in it.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A pinned map is not what this agent expects, and using it would corrupt memory.
    #[error(
        "pinned map {path} has {have}, and this agent needs {want}; run `netagent cleanup` to remove all pins"
    )]
    Layout {
        /// The pin.
        path: PathBuf,
        /// What it is.
        have: String,
        /// What it should be.
        want: String,
    },
    /// A map operation failed.
    #[error("{operation} map {map}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// On which map.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A loaded program could not be looked up.
    #[error("look up the program with id {id}")]
    Program {
        /// Its id in the kernel.
        id: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The loaded programs could not be listed.
    #[error("list the loaded programs")]
    Programs(#[source] io::Error),
    /// Another version's map could not be used.
    #[error("{operation} {path}, which another version of netagent left")]
    OtherMap {
        /// What was tried.
        operation: &'static str,
        /// Its pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A device could not be put where XDP programs send to.
    #[error("write map {map}")]
    Target {
        /// The map.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::maps::xdp::XdpMapError>,
    },
    /// Attaching failed.
    #[error("attach {program} to {ifname}")]
    Attach {
        /// Which.
        program: Program,
        /// To what.
        ifname: IfName,
        /// Why not.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// The programs of a device could not be listed.
    #[error("list the programs on {ifname}")]
    Query {
        /// The device.
        ifname: IfName,
        /// Why not.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A link could not be read or pinned.
    #[error("{operation} {path}")]
    Pin {
        /// What was tried.
        operation: &'static str,
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The punt ring could not be watched.
    #[error("watch the punt ring")]
    Watch(#[source] io::Error),
}

impl DatapathError {
    pub(super) fn map(operation: &'static str, map: &'static str) -> impl Fn(aya::maps::MapError) -> Self {
        move |source| Self::Map { operation, map, source: Box::new(source) }
    }
}
