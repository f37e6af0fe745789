// SPDX-License-Identifier: MIT OR Apache-2.0
//! The limit on locked memory, to which kernels before 5.11 charge BPF maps and programs.

use std::io;

/// Lifts the limit for this process. What earlier maps were charged is given back late, so a limit that suffices for an
/// agent's maps does not for its successor's; a device map over it is refused as an invalid argument.
///
/// # Errors
/// Without CAP_SYS_RESOURCE where the limit is too low.
pub fn lift_limit() -> io::Result<()> {
    let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel reads one rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
