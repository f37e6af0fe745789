// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VM's launcher on this node: the process behind its socket, found as virt-handler finds it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::sys::{
    netns::{Netns, NetnsError},
    peer::{self, PeerError},
};

/// Of a pod's directory; KubeVirt's pkg/virt-handler/cmd-client.
const SOCKET: &str = "volumes/kubernetes.io~empty-dir/sockets/launcher-sock";
/// The variable in which a launcher has its pod's name.
const POD_NAME: &[u8] = b"POD_NAME=";
/// More than any launcher's environment, in bytes.
const ENVIRON: u64 = 128 * 1024;
/// Bytes of a Kubernetes name.
const LONGEST: usize = 253;

/// A launcher.
#[derive(Debug)]
pub(super) struct Launcher {
    /// Its network namespace, the pod's.
    pub(super) netns: Netns,
    /// Its pod's name, where its environment can be read and has it.
    pub(super) pod_name: String,
}

/// A launcher that cannot be found.
#[derive(Debug, thiserror::Error)]
pub(super) enum LauncherError {
    /// A UID that is none.
    #[error("pod uid `{}` is none", .0.escape_debug())]
    Uid(String),
    /// Its socket.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Its namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

impl Launcher {
    /// The launcher of a pod, below the kubelet's directory.
    ///
    /// # Errors
    /// When the pod has none that listens, or its namespace cannot be opened.
    pub(super) fn find(kubelet: &Path, pod_uid: &str) -> Result<Self, LauncherError> {
        if !is_uid(pod_uid) {
            return Err(LauncherError::Uid(pod_uid.chars().take(LONGEST).collect()));
        }
        let pid = peer::listener_below(kubelet, &Path::new("pods").join(pod_uid).join(SOCKET))?;
        let process = PathBuf::from(format!("/proc/{pid}"));
        let netns = Netns::open_pod(&process.join("ns/net"))?;
        // For people alone: one that cannot be read is left out.
        let pod_name = environ(&process).ok().and_then(|environ| pod_name(&environ)).unwrap_or_default();
        Ok(Self { netns, pod_name })
    }
}

/// It becomes a part of a path.
fn is_uid(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn environ(process: &Path) -> io::Result<Vec<u8>> {
    let mut environ = Vec::new();
    File::open(process.join("environ"))?.take(ENVIRON).read_to_end(&mut environ)?;
    Ok(environ)
}

fn pod_name(environ: &[u8]) -> Option<String> {
    let name = environ.split(|b| *b == 0).find_map(|variable| variable.strip_prefix(POD_NAME))?;
    let fits = (1..=LONGEST).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use super::*;

    #[test]
    fn a_uid_is_no_path() {
        for bad in ["", "..", "a/b", "a\0b", "a.b", &"a".repeat(LONGEST + 1)] {
            let error = Launcher::find(Path::new("/"), bad).unwrap_err();
            assert!(matches!(error, LauncherError::Uid(_)), "{bad}: {error}");
        }
        assert!(is_uid("4c1f9c52-5a1f-4e0e-8f0e-3c6a7d2b9e10"));
    }

    #[test]
    fn a_socket_in_the_node_s_own_namespace_is_no_launcher_s() {
        let kubelet = tempfile::tempdir().unwrap();
        let socket = kubelet.path().join("pods/a-uid").join(SOCKET);
        let error = Launcher::find(kubelet.path(), "a-uid").unwrap_err();
        assert!(error.to_string().contains(&socket.display().to_string()), "{error}");
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let error = Launcher::find(kubelet.path(), "a-uid").unwrap_err();
        assert!(matches!(error, LauncherError::Netns(NetnsError::Host(_))), "{error}");
    }

    #[test]
    fn a_pod_s_name_is_read_from_the_environment_or_left_out() {
        let name = |environ: &str| pod_name(environ.as_bytes());
        assert_eq!(
            name("A=b\0POD_NAME=virt-launcher-db-x7k2p\0C=d\0").as_deref(),
            Some("virt-launcher-db-x7k2p")
        );
        assert_eq!(name("XPOD_NAME=a\0"), None);
        assert_eq!((name(""), name("POD_NAME=\0"), name("POD_NAME=a b")), (None, None, None));
        assert_eq!(name(&format!("POD_NAME={}", "x".repeat(LONGEST + 1))), None);
    }
}
