// SPDX-License-Identifier: MIT OR Apache-2.0
//! The unix socket: bound for root, a stale one replaced, a living one respected.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// The listening socket; its file goes when this does.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    file: SocketFile,
}

/// Removes the file at the end.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good, and nobody is left to tell otherwise.
        let _ = fs::remove_file(&self.0);
    }
}

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
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
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            Ok(_) => {
                if net::UnixStream::connect(path).is_ok() {
                    return Err(SocketError::InUse(path.to_owned()));
                }
                fs::remove_file(path).map_err(failed("remove the stale socket"))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("look at")(e)),
        }
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        // Between bind and this the peer check of the server holds the door.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("restrict"))?;
        Ok(Self { listener, file: SocketFile(path.to_owned()) })
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
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
        // A killed agent leaves its file behind.
        let (listener, file) = first.into_parts();
        std::mem::forget(file);
        drop(listener);
        assert!(path.exists());
        let second = Socket::bind(&path).unwrap();
        drop(second);
        assert!(!path.exists());
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
