// SPDX-License-Identifier: MIT OR Apache-2.0
//! The BPF filesystem: is it one, can it be written, is another agent on it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::{
        statfs,
        statvfs::{FsFlags, statvfs},
    },
};

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Exclusive use of a directory on a BPF filesystem, for as long as this lives. The kernel ends it with the process.
#[derive(Debug)]
pub struct BpffsLock {
    _directory: Flock<File>,
}

/// Why the BPF filesystem cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BpffsError {
    /// No BPF filesystem there.
    #[error(
        "{0} is not a BPF filesystem; mount one with `mount -t bpf bpf {0}`, or name another with --bpffs"
    )]
    NotBpffs(PathBuf),
    /// Reading or writing failed.
    #[error("{operation} {path} on the BPF filesystem")]
    Access {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Mounted read-only.
    #[error("the BPF filesystem {0} is read-only; remount it with `mount -o remount,rw {0}`")]
    ReadOnly(PathBuf),
    /// Somebody else holds the lock.
    #[error("another netagent uses {0}; stop it first, or name another --bpffs")]
    InUse(PathBuf),
}

/// Makes `directory` below the BPF filesystem `root`.
///
/// # Errors
/// When `root` is not a writable BPF filesystem.
pub fn make_directory(root: &Path, directory: &Path) -> Result<(), BpffsError> {
    let is_bpffs = statfs::statfs(root).is_ok_and(|s| s.filesystem_type().0 == BPF_FS_MAGIC);
    if !is_bpffs {
        return Err(BpffsError::NotBpffs(root.to_owned()));
    }
    // Asked, not tried: the directory may be there already.
    if statvfs(root).is_ok_and(|s| s.flags().contains(FsFlags::ST_RDONLY)) {
        return Err(BpffsError::ReadOnly(root.to_owned()));
    }
    fs::create_dir_all(directory).map_err(|source| BpffsError::Access {
        operation: "make directory",
        path: directory.to_owned(),
        source,
    })
}

/// Takes the lock of a directory.
///
/// # Errors
/// When another process has it.
pub fn lock(directory: &Path) -> Result<BpffsLock, BpffsError> {
    let access = |source| BpffsError::Access { operation: "lock", path: directory.to_owned(), source };
    let file = File::open(directory).map_err(access)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(directory) => Ok(BpffsLock { _directory: directory }),
        Err((_, nix::Error::EWOULDBLOCK)) => Err(BpffsError::InUse(directory.to_owned())),
        Err((_, e)) => Err(access(e.into())),
    }
}
