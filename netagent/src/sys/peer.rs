// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who listens on a unix socket in a directory that somebody else fills.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::socket::{
        AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
    },
};

/// A listener that cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The socket cannot be reached.
    #[error("{operation} {path}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something else has its name.
    #[error("{0} is not a socket")]
    NotASocket(PathBuf),
    /// The listener is in a PID namespace that ours does not contain.
    #[error("the process behind {0} has no number here; run netagent with hostPID")]
    Unseen(PathBuf),
}

/// The process that listens on the socket at `path` below `root`, by its number in our PID namespace. No symbolic link
/// below `root` is followed: whoever fills that directory would else choose whose socket it is.
///
/// Needs openat2(2), of Linux 5.6, and to connect where the socket is another user's, CAP_DAC_OVERRIDE.
///
/// # Errors
/// When there is no socket, or nobody listens.
pub fn listener_below(root: &Path, path: &Path) -> Result<u32, PeerError> {
    let shown = || root.join(path);
    let refused = |operation| move |source| PeerError::Refused { operation, path: shown(), source };
    let errno = |operation| move |e: Errno| refused(operation)(e.into());
    let directory = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(root)
        .map_err(refused("open the directory of"))?;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    let named: File = openat2(&directory, path, how).map_err(errno("open"))?.into();
    if !named.metadata().map_err(refused("look at"))?.file_type().is_socket() {
        return Err(PeerError::NotASocket(shown()));
    }
    // Not blocking: who listens may let its queue be full for ever.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket =
        socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(errno("make a socket for"))?;
    let address =
        UnixAddr::new(Path::new(&format!("/proc/self/fd/{}", named.as_raw_fd()))).map_err(errno("name"))?;
    connect(socket.as_raw_fd(), &address).map_err(errno("connect to"))?;
    let peer = getsockopt(&socket, PeerCredentials).map_err(errno("ask for the listener of"))?;
    u32::try_from(peer.pid()).ok().filter(|pid| *pid != 0).ok_or_else(|| PeerError::Unseen(shown()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
    };

    use super::*;

    #[test]
    fn the_listener_is_told_by_its_pid() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let _listener = UnixListener::bind(dir.path().join("a/sock")).unwrap();
        assert_eq!(listener_below(dir.path(), Path::new("a/sock")).unwrap(), std::process::id());
    }

    #[test]
    fn links_lead_nowhere_and_what_is_no_socket_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        let _secret = UnixListener::bind(dir.path().join("secret")).unwrap();
        symlink(dir.path().join("secret"), root.join("a/link")).unwrap();
        symlink(dir.path(), root.join("up")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        let error = |path: &str| listener_below(&root, Path::new(path)).unwrap_err();
        for path in ["a/link", "up/secret", "../secret", "/etc/hostname", "a/none"] {
            assert!(matches!(error(path), PeerError::Refused { operation: "open", .. }), "{path}");
        }
        assert!(matches!(error("a/file"), PeerError::NotASocket(_)));
        // Nobody listens any more.
        drop(UnixListener::bind(root.join("a/stale")).unwrap());
        assert!(matches!(error("a/stale"), PeerError::Refused { operation: "connect to", .. }));
        let missing = listener_below(&dir.path().join("gone"), Path::new("a")).unwrap_err();
        assert!(missing.to_string().starts_with("open the directory of "), "{missing}");
    }

    #[test]
    fn a_full_queue_does_not_hang_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        // One waits to be accepted, and the next has no place.
        let refused = (0..4).find_map(|_| listener_below(dir.path(), Path::new("sock")).err()).unwrap();
        let full = |e: &io::Error| e.kind() == io::ErrorKind::WouldBlock;
        assert!(matches!(&refused, PeerError::Refused { source, .. } if full(source)), "{refused}");
    }
}
