// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regular files of strangers, read whole: never waiting for a FIFO, never out of their own root.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::statfs::{self, PROC_SUPER_MAGIC},
};

/// Names a file without opening it: the open alone starts a watchdog, or waits for a FIFO's writer.
const NAME: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A FIFO, a device, a directory, or a file of procfs: that one tells every reader something else, and the agent
    /// what belongs to the agent.
    #[error("{0} is not a regular file; put a plain file there")]
    NotRegular(PathBuf),
}

/// Reads at most `limit` bytes of the file at `path`.
///
/// # Errors
/// When it is missing, cannot be read, or is not a regular file.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let named = File::options().read(true).custom_flags(NAME.bits()).open(path);
    contents(named.map_err(|source| FileError::Read { path: path.to_owned(), source })?, path, limit)
}

/// Reads at most `limit` bytes of the file at `path` as a process with the root directory `root` sees it: symbolic
/// links, absolute ones too, and `..` stay below `root`. `None` when there is no such file.
///
/// Needs openat2(2), of Linux 5.6.
///
/// # Errors
/// When it cannot be read, or is not a regular file.
pub fn read_below(root: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let shown = root.join(path);
    let named = File::options().read(true).custom_flags(NAME.bits()).open(root).and_then(|root| {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        Ok(openat2(root, path, OpenHow::new().flags(NAME).resolve(resolve))?.into())
    });
    match named {
        Ok(named) => contents(named, &shown, limit).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: shown, source }),
    }
}

/// Opens what was named once it is known to be harmless; nobody can put something else in its place in between.
fn contents(named: File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let kind = statfs::fstatfs(&named).map_err(|e| failed(e.into()))?.filesystem_type();
    if kind == PROC_SUPER_MAGIC || !named.metadata().map_err(failed)?.is_file() {
        return Err(FileError::NotRegular(path.to_owned()));
    }
    let file = File::open(format!("/proc/self/fd/{}", named.as_raw_fd())).map_err(failed)?;
    let mut text = Vec::new();
    file.take(limit).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    const LIMIT: u64 = 16;

    /// A root with an `etc`, and a secret beside it.
    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        (dir, root)
    }

    fn below(root: &Path, name: &str) -> Result<Option<String>, FileError> {
        read_below(root, &Path::new("etc").join(name), LIMIT)
            .map(|read| read.map(|text| String::from_utf8(text).unwrap()))
    }

    #[test]
    fn what_would_hang_or_drive_a_device_is_refused() {
        let (_dir, root) = root();
        mkfifo(&root.join("etc/fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(root.join("etc/directory")).unwrap();
        for name in ["fifo", "directory"] {
            let path = root.join("etc").join(name);
            assert!(matches!(below(&root, name).unwrap_err(), FileError::NotRegular(p) if p == path));
            assert!(matches!(read(&path, LIMIT).unwrap_err(), FileError::NotRegular(p) if p == path));
        }
        assert!(matches!(read(Path::new("/dev/null"), LIMIT).unwrap_err(), FileError::NotRegular(_)));
        assert!(matches!(
            read(Path::new("/proc/self/environ"), LIMIT).unwrap_err(),
            FileError::NotRegular(_)
        ));
    }

    #[test]
    fn links_stay_below_the_root() {
        let (dir, root) = root();
        let secret = dir.path().join("secret");
        symlink(&secret, root.join("etc/absolute")).unwrap();
        symlink("../../secret", root.join("etc/up")).unwrap();
        assert_eq!(fs::read_to_string(root.join("etc/absolute")).unwrap(), "secret", "an open(2) escapes");
        assert_eq!(below(&root, "absolute").unwrap(), None);
        assert_eq!(below(&root, "up").unwrap(), None);
        // With a file of that path below the root, it is that file.
        fs::write(root.join("secret"), "own").unwrap();
        assert_eq!(below(&root, "up").unwrap().as_deref(), Some("own"));
    }

    #[test]
    fn what_is_missing_is_none_and_what_is_there_is_read_up_to_the_limit() {
        let (_dir, root) = root();
        assert_eq!(below(&root, "hostname").unwrap(), None);
        assert_eq!(below(&root.join("gone"), "hostname").unwrap(), None);
        fs::write(root.join("etc/hostname"), "x".repeat(LIMIT as usize + 1)).unwrap();
        assert_eq!(below(&root, "hostname").unwrap().unwrap().len(), LIMIT as usize);
        let missing = read(&root.join("gone"), LIMIT).unwrap_err();
        assert!(missing.to_string().starts_with("read /"), "{missing}");
    }
}
