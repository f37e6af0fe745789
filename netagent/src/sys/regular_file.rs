// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regular files of strangers, read whole: never waiting for a FIFO, never out of their own root.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
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
    contents(name(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?, path, limit)
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
    match name_below(root, path) {
        Ok(named) => contents(named, &shown, limit).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: shown, source }),
    }
}

/// What tells a file from another one, and its content from the next, without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode: another one after a rename over it, or behind a link that was changed.
    file: (u64, u64),
    size: u64,
    /// Seconds and nanoseconds. A writer can set the first back, and not the second.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(named: &File) -> io::Result<Self> {
        let meta = named.metadata()?;
        Ok(Self {
            file: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// The stamp of the file that [`read`] would read.
///
/// # Errors
/// When it is missing or cannot be reached.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    Stamp::of(&name(path)?)
}

/// The stamp of the file that [`read_below`] would read.
///
/// # Errors
/// When it is missing or cannot be reached.
pub fn stamp_below(root: &Path, path: &Path) -> io::Result<Stamp> {
    Stamp::of(&name_below(root, path)?)
}

fn name(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(NAME.bits()).open(path)
}

fn name_below(root: &Path, path: &Path) -> io::Result<File> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    Ok(openat2(name(root)?, path, OpenHow::new().flags(NAME).resolve(resolve))?.into())
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
    fn a_stamp_changes_with_the_content_and_with_the_file() {
        let (_dir, root) = root();
        let path = root.join("etc/resolv.conf");
        let stamp = || stamp_below(&root, Path::new("etc/resolv.conf"));
        assert_eq!(stamp().unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "a").unwrap();
        let first = stamp().unwrap();
        assert_eq!(stamp().unwrap(), first);
        assert_eq!(super::stamp(&path).unwrap(), first, "the same file by another way");
        fs::write(&path, "ab").unwrap();
        let second = stamp().unwrap();
        assert_ne!(second, first);
        // Another file of the same size, with the same time of modification.
        fs::write(root.join("new"), "ab").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(root.join("new")).unwrap().set_modified(time).unwrap();
        fs::rename(root.join("new"), &path).unwrap();
        let third = stamp().unwrap();
        assert_ne!(third, second);
        // A link that leads elsewhere, and one that leads out of the root and therefore nowhere.
        fs::write(root.join("other"), "ab").unwrap();
        for (target, found) in [("../other", true), ("/secret", false)] {
            fs::remove_file(&path).unwrap();
            symlink(target, &path).unwrap();
            assert_eq!(stamp().ok().map(|now| now != third), found.then_some(true), "{target}");
        }
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
