// SPDX-License-Identifier: MIT OR Apache-2.0
//! The unix socket: bound for root, a stale one replaced, a living one respected.
//!
//! Looking at a socket file and replacing it are two steps. Only who holds the lock beside it takes them, so that of
//! two starting agents neither unlinks the other's socket.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::{
        fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
        net,
    },
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

/// The listening socket; its file goes when this does. The lock file beside it stays: who removed it could remove one
/// that another agent has just locked.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// Removes the file at the end, and gives the lock back after that.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good, and nobody is left to tell otherwise.
        let _ = fs::remove_file(&self.path);
    }
}

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there, or is about to.
    #[error("another agent answers on {0}; stop it first, or name another --socket")]
    InUse(PathBuf),
    /// The path is something else.
    #[error("{0} exists and is not a socket; move it away, or name another --socket")]
    NotASocket(PathBuf),
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
}

impl Socket {
    /// Binds the socket, for root alone; its directory is made when it is not there. A socket that nobody answers on is
    /// an earlier agent's, and is replaced.
    ///
    /// # Errors
    /// When another agent answers there, or the path cannot be used.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |operation| move |source| SocketError::File { operation, path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
        }
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            Ok(_) => {
                // An agent holds the lock, but what is bound there need not be an agent.
                if net::UnixStream::connect(path).is_ok() {
                    return Err(SocketError::InUse(path.to_owned()));
                }
                fs::remove_file(path).map_err(failed("remove the stale socket"))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("look at")(e)),
        }
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        let file = SocketFile { path: path.to_owned(), _lock: lock };
        // Between bind and this the peer check of the server holds the door.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("restrict"))?;
        Ok(Self { listener, file })
    }

    /// What listens, and what has to be kept for as long as that does.
    pub fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// Takes the lock beside the socket; the kernel gives it back when the process ends, however it ends.
fn lock(socket: &Path) -> Result<Flock<File>, SocketError> {
    let mut path = OsString::from(socket);
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |source| SocketError::File { operation: "lock", path: path.clone(), source };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::Error::EWOULDBLOCK)) => Err(SocketError::InUse(socket.to_owned())),
        Err((_, e)) => Err(failed(e.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_living_socket_is_respected_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/agent.sock");
        let first = Socket::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path).unwrap_err(), SocketError::InUse(_)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        assert!(!path.exists());
        // A killed agent leaves its file behind.
        drop(net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = Socket::bind(&path).unwrap();
        drop(second);
        assert!(!path.exists());
        // One of another program, or of an agent that knew no lock.
        let _other = net::UnixListener::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path).unwrap_err(), SocketError::InUse(_)));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn of_two_that_start_at_once_one_has_a_socket_that_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        for _ in 0..50 {
            drop(net::UnixListener::bind(&path).unwrap());
            let starters: Vec<_> = (0..2)
                .map(|_| {
                    let path = path.clone();
                    tokio::task::spawn_blocking({
                        let runtime = tokio::runtime::Handle::current();
                        move || {
                            let _guard = runtime.enter();
                            Socket::bind(&path)
                        }
                    })
                })
                .collect();
            let mut bound = Vec::new();
            for starter in starters {
                match starter.await.unwrap() {
                    Ok(socket) => bound.push(socket),
                    Err(e) => assert!(matches!(e, SocketError::InUse(_)), "{e}"),
                }
            }
            assert_eq!(bound.len(), 1);
            assert!(net::UnixStream::connect(&path).is_ok());
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn what_is_not_a_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path).unwrap_err(), SocketError::NotASocket(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
