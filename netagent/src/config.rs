// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration: defaults, then the file, then environment and flags; checked whole before anything starts.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::core::hand_off::LEASE_SECONDS;

/// Read when it is there and no other file is named.
pub const USUAL_FILE: &str = "/etc/netagent/netagent.toml";
/// The socket that clients try.
pub const USUAL_SOCKET: &str = "/run/netagent/netagent.sock";

/// The agent's configuration. The keys of the file are these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The API's unix socket. The directory that it is in also holds what was asked for, so it belongs on tmpfs.
    pub socket: PathBuf,
    /// A mounted BPF filesystem.
    pub bpffs: PathBuf,
    /// Where metrics and health are served over HTTP; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// How long a DHCP lease lasts, where the port does not say otherwise. A guest asks again after half of it, and
    /// hears of changes then.
    pub lease_seconds: u32,
    /// How often a port is compared with what it should be, when nothing else calls for it.
    pub resync_seconds: u32,
    /// What pods may ask for by their annotations.
    pub pods: PodsSection,
    /// The container runtime's list of pods; not read when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cri: Option<CriSection>,
    /// The container runtime's calls before a pod starts; not served when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nri: Option<NriSection>,
}

/// `[pods]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodsSection {
    /// Whether annotations may make exceptions from the guard. Whoever may create a pod may then send with any address.
    pub guard_exceptions: bool,
}

/// `[cri]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CriSection {
    /// The runtime's CRI socket.
    pub socket: PathBuf,
    /// Whether its events are listened to. Without them the list is read every few seconds.
    pub events: bool,
}

impl Default for CriSection {
    fn default() -> Self {
        Self { socket: "/run/containerd/containerd.sock".into(), events: true }
    }
}

/// `[nri]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NriSection {
    /// The runtime's NRI socket.
    pub socket: PathBuf,
}

impl Default for NriSection {
    fn default() -> Self {
        Self { socket: "/var/run/nri/nri.sock".into() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            socket: USUAL_SOCKET.into(),
            bpffs: "/sys/fs/bpf".into(),
            metrics: None,
            lease_seconds: 24 * 60 * 60,
            resync_seconds: 30,
            pods: PodsSection::default(),
            cri: None,
            nri: None,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not a configuration.
    #[error("configuration {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why not; names the keys that there are.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is out of bounds.
    #[error("{key} = {value} is out of bounds: it must be {bounds}")]
    Bounds {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        bounds: &'static str,
    },
}

impl Config {
    /// The configuration of a file; of the usual file or the defaults when none is named.
    ///
    /// # Errors
    /// When a named file is missing, or any file is not a configuration.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(USUAL_FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && file.is_none() => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        toml::from_str(&text).map_err(|e| ConfigError::Parse { path: path.to_owned(), source: Box::new(e) })
    }

    /// Checks what types alone do not.
    ///
    /// # Errors
    /// The first value that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key, value: String, bounds| Err(ConfigError::Bounds { key, value, bounds });
        for (key, path) in [("socket", &self.socket), ("bpffs", &self.bpffs)] {
            if !path.is_absolute() {
                return bounds(key, path.display().to_string(), "an absolute path");
            }
        }
        if !LEASE_SECONDS.contains(&self.lease_seconds) {
            return bounds("lease_seconds", self.lease_seconds.to_string(), "60 to 31536000");
        }
        if !(1..=3600).contains(&self.resync_seconds) {
            return bounds("resync_seconds", self.resync_seconds.to_string(), "1 to 3600");
        }
        Ok(())
    }

    /// The configuration as a file.
    pub fn to_toml(&self) -> String {
        // Plain values in a plain table: there is nothing that TOML cannot hold.
        toml::to_string(self).unwrap_or_default()
    }

    /// How long a lease lasts.
    pub fn lease_time(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }

    /// How often a port is looked at.
    pub fn resync(&self) -> Duration {
        Duration::from_secs(self.resync_seconds.into())
    }

    /// Where asks are kept.
    pub fn ports_directory(&self) -> PathBuf {
        self.socket.parent().unwrap_or(Path::new("/run/netagent")).join("ports")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netagent.toml");
        fs::write(&path, text).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn what_it_prints_it_reads() {
        assert_eq!(load(&Config::default().to_toml()).unwrap(), Config::default());
        assert_eq!(load("").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_keys_that_there_are() {
        let error = load("resync_secs = 5\n").unwrap_err();
        let text = format!("{:#}", anyhow::Error::from(error));
        assert!(text.contains("resync_secs") && text.contains("resync_seconds"), "{text}");
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        for (text, key) in [
            ("lease_seconds = 1", "lease_seconds"),
            ("resync_seconds = 0", "resync_seconds"),
            ("bpffs = 'x'", "bpffs"),
        ] {
            let error = load(text).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
        Config::default().check().unwrap();
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        assert!(Config::load(Some(Path::new("/not/there.toml"))).is_err());
    }
}
