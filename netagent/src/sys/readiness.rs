// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for a descriptor with the runtime.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Watches a descriptor for readability.
///
/// # Errors
/// When it cannot be watched, as a plain file.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, stays open until the AsyncFd drops it, and always names the same descriptor.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}
