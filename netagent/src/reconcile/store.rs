// SPDX-License-Identifier: MIT OR Apache-2.0
//! The asks on disk: one JSON file a port, so that an agent that starts again knows what is wanted. Meant for tmpfs:
//! no namespace outlives a boot.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::core::{ids::PortId, spec::PortSpec};

/// Ending of a file that is not whole yet.
const DRAFT: &str = "draft";

/// A directory of asks.
#[derive(Debug)]
pub struct SpecStore {
    directory: PathBuf,
}

/// A file of the store that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not an ask, as after damage.
    #[error(
        "{path} holds no port request; its port stays as it is until it is attached again or the file is removed"
    )]
    Unreadable {
        /// The port that the file is named after.
        port: Option<PortId>,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

impl SpecStore {
    /// A store in `directory`, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(failed("make directory", directory))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Keeps an ask. After a crash the file is the old one or the new one, whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, spec: &PortSpec) -> Result<(), StoreError> {
        let path = self.path(&spec.id());
        let draft = path.with_extension(DRAFT);
        let text =
            serde_json::to_vec_pretty(spec).map_err(io::Error::from).map_err(failed("write", &path))?;
        fs::write(&draft, text).map_err(failed("write", &draft))?;
        fs::rename(&draft, &path).map_err(failed("write", &path))
    }

    /// Forgets an ask; one that is not there is as good.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&self, port: &PortId) -> Result<(), StoreError> {
        let path = self.path(port);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    /// Everything that was asked for. A file that cannot be read does not keep the others from being served.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn load(&self) -> Result<(Vec<PortSpec>, Vec<StoreError>), StoreError> {
        let (mut specs, mut unreadable) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.directory).map_err(failed("list", &self.directory))? {
            let path = entry.map_err(failed("list", &self.directory))?.path();
            if path.extension().is_some_and(|e| e == DRAFT) {
                // Of an agent that died over it, for a port that may never be asked for again.
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                continue;
            }
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(e) => {
                    unreadable.push(failed("read", &path)(e));
                    continue;
                }
            };
            match serde_json::from_slice(&text) {
                Ok(spec) => specs.push(spec),
                Err(source) => {
                    let port = path.file_stem().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
                    unreadable.push(StoreError::Unreadable { port, path, source });
                }
            }
        }
        Ok((specs, unreadable))
    }

    /// Removes the directory if it is empty.
    pub fn prune(&self) {
        // Fails while a file is in it.
        let _ = fs::remove_dir(&self.directory);
    }

    fn path(&self, port: &PortId) -> PathBuf {
        self.directory.join(format!("{port}.json"))
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { operation, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::tests::spec;

    #[test]
    fn asks_survive_and_a_broken_file_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = SpecStore::open(&dir.path().join("ports")).unwrap();
        store.keep(&spec()).unwrap();
        fs::write(dir.path().join("ports/broken.json"), "{").unwrap();
        fs::write(dir.path().join("ports/7-eth0.draft"), "half a fi").unwrap();
        let (specs, unreadable) = store.load().unwrap();
        assert_eq!(specs, [spec()]);
        assert!(!dir.path().join("ports/7-eth0.draft").exists(), "what was never whole stays");
        assert_eq!(unreadable.len(), 1);
        assert!(unreadable[0].to_string().contains("broken.json"));
        store.forget(&spec().id()).unwrap();
        store.forget(&spec().id()).unwrap();
        assert_eq!(store.load().unwrap().0, []);
    }
}
