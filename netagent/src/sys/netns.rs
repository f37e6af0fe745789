// SPDX-License-Identifier: MIT OR Apache-2.0
//! Network namespaces: identity by device and inode, entered only on a thread that dies.

use std::{
    fs::File,
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use nix::{sched::CloneFlags, sys::statfs};
use tokio::sync::oneshot;

use crate::core::ids::NetnsId;

/// `NSFS_MAGIC` of include/uapi/linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;

nix::ioctl_none_bad!(
    /// Kind of a namespace as its `CLONE_NEW*` flag (include/uapi/linux/nsfs.h).
    ns_get_nstype,
    nix::request_code_none!(0xb7, 0x3)
);

/// An open network namespace. It stays alive while this is held, so it is held only for as long as a job takes.
#[derive(Clone, Debug)]
pub struct Netns {
    fd: Arc<OwnedFd>,
    id: NetnsId,
    path: PathBuf,
}

/// What went wrong with a namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nothing is there.
    #[error(
        "no network namespace at {path}; give that of a living one, as /run/netns/NAME or /proc/PID/ns/net"
    )]
    Missing {
        /// The path.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The process is there, and the agent may not look into it.
    #[error(
        "the agent may not open network namespace {path}; let it keep CAP_SYS_PTRACE, or name the namespace with \
         `ip netns attach` and give /run/netns/NAME"
    )]
    Forbidden {
        /// The path.
        path: PathBuf,
        /// The kernel's words.
        #[source]
        source: io::Error,
    },
    /// The path cannot be opened.
    #[error("open network namespace {path}")]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The path is something else.
    #[error("{0} is not a network namespace; give a path as /run/netns/NAME or /proc/PID/ns/net")]
    NotNetns(PathBuf),
    /// The path leads to the node's own namespace.
    #[error("{0} is the node's own network namespace; give a pod's, as /run/netns/NAME or /proc/PID/ns/net")]
    Host(PathBuf),
    /// A thread could not be moved into the namespace.
    #[error("enter network namespace {path}")]
    Enter {
        /// The path it was opened by.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The job in the namespace panicked.
    #[error("a job in network namespace {0} panicked")]
    Panicked(PathBuf),
}

impl NetnsError {
    /// Whether the namespace is simply not there any more.
    pub fn is_gone(&self) -> bool {
        match self {
            // `ip netns del` leaves a plain file for the moment between umount and unlink.
            Self::Missing { .. } | Self::NotNetns(_) => true,
            _ => false,
        }
    }
}

impl Netns {
    /// Opens the namespace at `path`.
    ///
    /// # Errors
    /// When the path cannot be opened or is not a network namespace.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let open = |source| NetnsError::Open { path: path.to_owned(), source };
        // Named first, and opened when it is known to be harmless: the open alone starts a watchdog, or waits for a
        // FIFO's writer. Nobody can put something else in its place in between.
        let named = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
            .open(path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => NetnsError::Missing { path: path.to_owned(), source },
                io::ErrorKind::PermissionDenied => NetnsError::Forbidden { path: path.to_owned(), source },
                _ => open(source),
            })?;
        let not_netns = || NetnsError::NotNetns(path.to_owned());
        let kind = statfs::fstatfs(&named).map_err(|e| open(e.into()))?.filesystem_type();
        if kind.0 != NSFS_MAGIC {
            return Err(not_netns());
        }
        let file = File::open(format!("/proc/self/fd/{}", named.as_raw_fd())).map_err(open)?;
        // SAFETY: the descriptor is open and on nsfs, where the request takes no argument.
        let nstype = unsafe { ns_get_nstype(file.as_raw_fd()) }.map_err(|e| open(e.into()))?;
        if nstype != CloneFlags::CLONE_NEWNET.bits() {
            return Err(not_netns());
        }
        let meta = file.metadata().map_err(open)?;
        let id = NetnsId { dev: meta.dev(), ino: meta.ino() };
        Ok(Self { fd: Arc::new(file.into()), id, path: path.to_owned() })
    }

    /// Opens the namespace of a pod: any but the agent's own and the init process's.
    ///
    /// # Errors
    /// As [`open`](Self::open), and for the node's own namespace.
    pub fn open_pod(path: &Path) -> Result<Self, NetnsError> {
        let netns = Self::open(path)?;
        for own in ["/proc/self/ns/net", "/proc/1/ns/net"] {
            // Without hostPID or ptrace rights init's namespace cannot be read; the agent's own always can.
            if Self::open(Path::new(own)).is_ok_and(|own| own.id == netns.id) {
                return Err(NetnsError::Host(path.to_owned()));
            }
        }
        Ok(netns)
    }

    /// Its identity.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor's number, for requests that name a namespace by it. Valid as long as this is held.
    pub fn descriptor(&self) -> u32 {
        self.fd.as_raw_fd().cast_unsigned()
    }

    /// Runs `job` inside the namespace, on a thread of its own that ends with it: there is nothing to restore.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the job panics.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        let (send, receive) = oneshot::channel();
        let netns = self.clone();
        Traveller::spawn("netns", move |traveller| {
            // The receiver is gone when the caller was cancelled: nobody wants the result then.
            let _ = send.send(traveller.enter(&netns).map(|()| job()));
        })
        .map_err(|source| NetnsError::Enter { path: self.path.clone(), source })?;
        receive.await.unwrap_or_else(|_| Err(NetnsError::Panicked(self.path.clone())))
    }
}

/// A thread that may enter namespaces, one after another: it ends with its work, so there is nothing to restore. It
/// keeps the last one that it entered alive until then.
#[derive(Debug)]
pub struct Traveller {
    /// It is the thread, and cannot be handed to another.
    _thread: PhantomData<*const ()>,
}

impl Traveller {
    /// Runs `work` on a new thread that ends with it.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn spawn(name: &str, work: impl FnOnce(&Self) + Send + 'static) -> io::Result<()> {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&Self { _thread: PhantomData }))
            .map(drop)
    }

    /// Moves the thread into a namespace.
    ///
    /// # Errors
    /// When the kernel refuses it.
    #[expect(clippy::disallowed_methods, reason = "the one place: the calling thread ends with its work")]
    pub fn enter(&self, netns: &Netns) -> Result<(), NetnsError> {
        nix::sched::setns(netns.fd.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|e| NetnsError::Enter { path: netns.path.clone(), source: e.into() })
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_netns_is_refused_by_its_path() {
        let missing = Netns::open(Path::new("/run/netns/not-there")).unwrap_err();
        assert!(missing.is_gone());
        assert!(
            missing.to_string().starts_with("no network namespace at /run/netns/not-there; "),
            "{missing}"
        );
        for path in ["/etc/hostname", "/proc/self/ns/mnt", "/"] {
            let error = Netns::open(Path::new(path)).unwrap_err();
            assert!(matches!(error, NetnsError::NotNetns(_)), "{path}: {error}");
        }
    }

    #[test]
    fn the_node_s_own_namespace_is_no_pod() {
        let error = Netns::open_pod(Path::new("/proc/self/ns/net")).unwrap_err();
        assert!(matches!(error, NetnsError::Host(_)), "{error}");
    }

    #[test]
    fn what_an_open_would_set_off_is_refused_unopened() {
        // Whoever opens a device that is not there gets ENXIO; a name alone can be looked at.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device");
        let device = nix::sys::stat::makedev(0x1ff, 7);
        let made = nix::sys::stat::mknod(
            &path,
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::S_IRUSR,
            device,
        );
        if made.is_err() {
            // Takes CAP_MKNOD; the harness of the root tiers has it.
            return;
        }
        assert!(matches!(Netns::open(&path).unwrap_err(), NetnsError::NotNetns(_)));
    }

    #[test]
    fn a_fifo_does_not_hang_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(Netns::open(&path).unwrap_err(), NetnsError::NotNetns(_)));
    }
}
