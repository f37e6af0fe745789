// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are pinned: `BPFFS/netagent/v<ABI>/{PORTS,…,ports/<port>/{from_vm,to_vm}}`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use netagent_common::ABI_VERSION;

use super::DatapathError;
use crate::core::{
    ids::PortId,
    owned::{self, PIN_ROOT},
    program::Program,
};

/// The paths of all pins of this ABI.
#[derive(Clone, Debug)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// The pins below a BPF filesystem.
    pub fn below(bpffs: &Path) -> Self {
        Self { directory: bpffs.join(PIN_ROOT).join(owned::abi_directory(ABI_VERSION)) }
    }

    /// The directory that holds all of them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A map's pin.
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
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
        let failed = |source| DatapathError::Pin { operation: "list", path: self.ports(), source };
        let entries = match fs::read_dir(self.ports()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut ports = Vec::new();
        for entry in entries {
            // A name that is no port's is not ours.
            if let Some(id) = entry.map_err(failed)?.file_name().to_str().and_then(owned::port_of_directory) {
                ports.push(id);
            }
        }
        Ok(ports)
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

    /// Removes a link's pin, and the port's directory with the last of them. A pin that is gone is as good.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove_link(&self, port: &PortId, program: Program) -> Result<(), DatapathError> {
        let path = self.link(port, program);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(DatapathError::Pin { operation: "remove", path, source: e })
            }
            _ => {
                self.remove_port(port);
                Ok(())
            }
        }
    }

    /// Removes the port's directory when no pin is left in it; somebody else may have taken the pins out.
    pub fn remove_port(&self, port: &PortId) {
        // Fails while a pin is there, and where there is no directory.
        let _ = fs::remove_dir(self.port(port));
    }

    /// Removes everything of this ABI, maps included: what programs are still attached by filters lose their settings
    /// with the last of them. Directories that hold somebody else's files stay.
    ///
    /// # Errors
    /// When something of ours cannot be removed.
    pub fn remove_all(&self) -> Result<(), DatapathError> {
        for port in self.pinned_ports()? {
            for program in Program::ALL {
                self.remove_link(&port, program)?;
            }
        }
        self.remove_maps()?;
        let root = self.directory.parent();
        for directory in [Some(self.ports().as_path()), Some(&self.directory), root].into_iter().flatten() {
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

    /// Removes the pins of the maps. What has them open goes on using them.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn remove_maps(&self) -> Result<(), DatapathError> {
        for name in super::maps::NAMES {
            let path = self.map(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(DatapathError::Pin { operation: "remove", path, source: e });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
