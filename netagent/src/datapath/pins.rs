// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are pinned: `BPFFS/netagent/{PORTS-v<ABI>,RULES-v<ABI>,COUNTERS,BUCKETS,PUNT,ports/<port>/<program>}`.
//!
//! Nothing of a link or a counter depends on the ABI, so all versions share their pins. An upgrade puts a program under
//! a link where it is: there is nothing to move, and nothing to be found half moved.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use netagent_common::ABI_VERSION;

use super::{DatapathError, maps::PORTS, rules::RULES};
use crate::{
    core::{
        ids::PortId,
        owned::{self, PIN_ROOT},
        program::Program,
    },
    sys::bpf_link,
};

/// The paths of all pins.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// The pins below a BPF filesystem.
    pub fn below(bpffs: &Path) -> Self {
        Self { directory: bpffs.join(PIN_ROOT) }
    }

    /// The directory that holds all of them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A map's pin. The settings of ports are the one thing whose layout changes; see
    /// [`maps`](netagent_common::maps).
    pub fn map(&self, name: &str) -> PathBuf {
        match name {
            PORTS => self.ports_map(ABI_VERSION),
            RULES => self.rules_map(ABI_VERSION),
            _ => self.directory.join(name),
        }
    }

    /// The pin of a version's map of ports.
    pub(super) fn ports_map(&self, abi: u32) -> PathBuf {
        self.directory.join(owned::ports_map(abi))
    }

    fn rules_map(&self, abi: u32) -> PathBuf {
        self.directory.join(owned::rules_map(abi))
    }

    /// Other versions that have a map of ports here.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(super) fn other_versions(&self) -> Result<Vec<u32>, DatapathError> {
        let names = names(&self.directory)?;
        let mut found: Vec<_> = names.iter().filter_map(|name| owned::ports_map_version(name)).collect();
        found.retain(|abi| *abi != ABI_VERSION);
        found.sort_unstable();
        Ok(found)
    }

    /// Removes the maps that only one version has; what runs goes on using them.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub(super) fn remove_version(&self, abi: u32) -> Result<(), DatapathError> {
        // The settings last: by them the version is found again.
        remove(&self.rules_map(abi))?;
        remove(&self.ports_map(abi))
    }

    /// The pin of a port's tcx link.
    pub fn link(&self, port: &PortId, program: Program) -> PathBuf {
        self.port(port).join(owned::link_pin(program))
    }

    fn port(&self, port: &PortId) -> PathBuf {
        self.ports().join(owned::port_directory(port))
    }

    fn ports(&self) -> PathBuf {
        self.directory.join("ports")
    }

    /// Ports that have pins.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pinned_ports(&self) -> Result<Vec<PortId>, DatapathError> {
        // A name that is no port's is not ours.
        Ok(names(&self.ports())?.iter().filter_map(|name| owned::port_of_directory(name)).collect())
    }

    /// Removes a port's directory if it is empty, as after an attach that failed.
    pub(super) fn prune_port(&self, port: &PortId) {
        // Fails while a pin is in it, and when it is not there.
        let _ = fs::remove_dir(self.port(port));
    }

    pub(super) fn make_port(&self, port: &PortId) -> Result<(), DatapathError> {
        let path = self.port(port);
        fs::create_dir_all(&path).map_err(|source| DatapathError::Pin {
            operation: "make directory",
            path,
            source,
        })
    }

    /// Takes a link's program off its device at once; when this returns, no packet is in it any more. A pin that is gone
    /// is as good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sever_link(&self, port: &PortId, program: Program) -> Result<(), DatapathError> {
        let path = self.link(port, program);
        match bpf_link::detach(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DatapathError::Pin { operation: "detach", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Removes a link's pin, and the port's directory with the last of them. A pin that is gone is as good.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove_link(&self, port: &PortId, program: Program) -> Result<(), DatapathError> {
        remove(&self.link(port, program))?;
        self.remove_port(port);
        Ok(())
    }

    /// Removes the port's directory when no pin is left in it; somebody else may have taken the pins out.
    pub fn remove_port(&self, port: &PortId) {
        // Fails while a pin is there, and where there is no directory.
        let _ = fs::remove_dir(self.port(port));
    }

    /// Removes everything, the maps of all versions included: what programs are still attached by filters lose their
    /// settings with the last of them. Directories that hold somebody else's files stay.
    ///
    /// # Errors
    /// When something of ours cannot be removed.
    pub fn remove_all(&self) -> Result<(), DatapathError> {
        for port in self.pinned_ports()? {
            for program in Program::ALL {
                self.remove_link(&port, program)?;
            }
        }
        for abi in self.other_versions()? {
            self.remove_version(abi)?;
        }
        self.remove_maps()?;
        for directory in [self.ports().as_path(), &self.directory] {
            match fs::remove_dir(directory) {
                Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                    let path = directory.to_owned();
                    return Err(DatapathError::Pin { operation: "remove", path, source: e });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the pins of this version's maps. What has them open goes on using them.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn remove_maps(&self) -> Result<(), DatapathError> {
        super::maps::NAMES.iter().try_for_each(|name| remove(&self.map(name)))
    }
}

/// Removes a pin; one that is gone is as good.
pub(super) fn remove(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::Pin { operation: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// What is in a directory; nothing when it is not there. A name that is not UTF-8 is not ours.
fn names(directory: &Path) -> Result<Vec<String>, DatapathError> {
    let failed = |source| DatapathError::Pin { operation: "list", path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}
