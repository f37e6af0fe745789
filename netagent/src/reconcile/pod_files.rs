// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pod's resolv.conf and host name: given by path, or found by the path of its namespace.

use std::{
    fs,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::core::pod::Dns;

/// More than any real resolv.conf; a pod may put anything behind its path.
const LIMIT: u64 = 64 * 1024;

/// A file of the pod that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PodFileError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no resolv.conf.
    #[error("{path} is not a resolv.conf")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: resolv_conf::ParseError,
    },
}

/// Where a pod keeps its `/etc`: below the root of a process, when its namespace was named by that process, or
/// ip-netns(8)'s directory for a named one.
fn etc_directory(netns: &Path) -> Option<PathBuf> {
    if let Some(process) = netns.to_str().and_then(|p| p.strip_suffix("/ns/net"))
        && process.starts_with("/proc/")
    {
        return Some(Path::new(process).join("root/etc"));
    }
    let name = netns.strip_prefix("/run/netns").or_else(|_| netns.strip_prefix("/var/run/netns")).ok()?;
    Some(Path::new("/etc/netns").join(name))
}

/// Name servers and search list: of the file that was given, else of the pod's own, else none.
///
/// # Errors
/// When a file is there, or was given, and cannot be read as a resolv.conf.
pub(super) fn dns(netns: &Path, given: Option<&Path>) -> Result<Dns, PodFileError> {
    let found = || etc_directory(netns).map(|etc| etc.join("resolv.conf")).filter(|p| p.exists());
    let Some(path) = given.map(Path::to_owned).or_else(found) else { return Ok(Dns::default()) };
    let text = read(&path)?;
    let config = resolv_conf::Config::parse(&text)
        .map_err(|source| PodFileError::Parse { path: path.clone(), source })?;
    Ok(Dns {
        servers: config.nameservers.iter().map(|s| IpAddr::from(s.clone())).collect(),
        search: config.get_last_search_or_domain().cloned().collect(),
    })
}

/// The host name: the one given, else the pod's own, else none.
///
/// # Errors
/// When the pod's file is there and cannot be read.
pub(super) fn hostname(netns: &Path, given: Option<&str>) -> Result<Option<String>, PodFileError> {
    if let Some(name) = given {
        return Ok(Some(name.to_owned()));
    }
    let Some(path) = etc_directory(netns).map(|etc| etc.join("hostname")).filter(|p| p.exists()) else {
        return Ok(None);
    };
    let text = read(&path)?;
    let name = String::from_utf8_lossy(&text);
    Ok(name.lines().next().map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned))
}

fn read(path: &Path) -> Result<Vec<u8>, PodFileError> {
    let failed = |source| PodFileError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_s_path_tells_where_its_files_are() {
        let etc = |p: &str| etc_directory(Path::new(p)).map(|p| p.display().to_string());
        assert_eq!(etc("/proc/42/ns/net").as_deref(), Some("/proc/42/root/etc"));
        assert_eq!(etc("/run/netns/pod").as_deref(), Some("/etc/netns/pod"));
        assert_eq!(etc("/var/run/netns/cni-1").as_deref(), Some("/etc/netns/cni-1"));
        assert_eq!(etc("/somewhere/else"), None);
    }

    #[test]
    fn a_resolv_conf_that_was_given_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "nameserver 10.96.0.10\nnameserver fd00::a\nsearch a.svc b.svc\noptions ndots:5\n")
            .unwrap();
        let dns = dns(Path::new("/nowhere"), Some(&path)).unwrap();
        assert_eq!(
            dns.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.96.0.10", "fd00::a"]
        );
        assert_eq!(dns.search, ["a.svc", "b.svc"]);
    }

    #[test]
    fn a_file_that_was_given_must_be_there() {
        let error = dns(Path::new("/nowhere"), Some(Path::new("/nowhere/resolv.conf"))).unwrap_err();
        assert_eq!(error.to_string(), "read /nowhere/resolv.conf");
        assert_eq!(dns(Path::new("/nowhere"), None).unwrap(), Dns::default());
    }
}
