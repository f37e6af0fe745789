// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tap made under another SELinux label: by a process that starts with that label, and makes it on its standard input.
//!
//! A thread of a process with several may not take a label of its own (`selinux_lsm_setattr`, security/selinux/hooks.c), and
//! what a process makes has its label. KubeVirt makes its own taps in the same way (cmd/virt-chroot).

use std::{
    ffi::CStr,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Command, Stdio},
};

use super::{selinux::Label, tap};
use crate::core::ids::IfName;

/// The verb under which the agent's own program makes a tap on its standard input.
pub const VERB: &str = "make-tap";

/// TUNSETIFF on `tun`, by a process with that label, in the calling thread's namespace.
pub(super) fn set_iff(tun: &OwnedFd, name: &IfName, flags: libc::c_int, label: &Label) -> io::Result<()> {
    let label = label.to_c_string();
    let mut command = Command::new("/proc/self/exe");
    command.args([VERB, name.as_str(), &flags.to_string()]).env_clear();
    command.stdin(tun.try_clone()?).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: between fork and exec the closure makes three system calls, and touches no memory but its own.
    unsafe { command.pre_exec(move || start_under(&label)) };
    finish(command)
}

fn finish(mut command: Command) -> io::Result<()> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}

/// Has the next exec(2) of this process begin under the label.
fn start_under(label: &CStr) -> io::Result<()> {
    let attribute = c"/proc/thread-self/attr/exec";
    // SAFETY: the path is a string that ends.
    let fd = unsafe { libc::open(attribute.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the bytes are there for as long as the call takes.
    let written = unsafe { libc::write(fd, label.as_ptr().cast(), label.count_bytes()) };
    let outcome = if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the descriptor was opened above, and is nobody else's.
    unsafe { libc::close(fd) };
    outcome
}

/// What the process of [`VERB`] does. The tap is that of whoever has the same open file: it stays when this ends.
///
/// # Errors
/// When the kernel refuses.
pub fn make_on_stdin(name: &IfName, flags: libc::c_int) -> io::Result<()> {
    tap::set_iff(&io::stdin(), name, flags)
}
