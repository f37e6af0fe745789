// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capabilities that the agent works with (capabilities(7)), and how it gives up all others.

use std::{fs, io};

/// One that the agent works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// As capabilities(7) has it.
    pub name: &'static str,
    /// `include/uapi/linux/capability.h`.
    pub number: u32,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether the agent starts without it.
    pub required: bool,
}

/// Those that every agent works with.
pub const CAPABILITIES: [Capability; 7] = [
    needed("CAP_NET_ADMIN", 12, "make taps, attach programs"),
    needed("CAP_NET_RAW", 13, "answer DHCP"),
    needed("CAP_SYS_ADMIN", 21, "enter the pods' namespaces"),
    needed("CAP_BPF", 39, "load programs"),
    useful("CAP_NET_BROADCAST", 11, "hear of changes in the pods"),
    useful("CAP_SYS_PTRACE", 19, "read the namespace and files of other users' processes"),
    useful("CAP_PERFMON", 38, "have programs verified without the limits for strangers"),
];

/// What a node hook for KubeVirt needs besides: the launcher's socket belongs to the VMM's user.
pub const CONNECT_TO_LAUNCHERS: Capability =
    useful("CAP_DAC_OVERRIDE", 1, "connect to the sockets of KubeVirt's launchers");

const fn needed(name: &'static str, number: u32, purpose: &'static str) -> Capability {
    Capability { name, number, purpose, required: true }
}

const fn useful(name: &'static str, number: u32, purpose: &'static str) -> Capability {
    Capability { name, number, purpose, required: false }
}

/// The agent may not do its work.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities are missing.
    #[error("missing {0}; run as root")]
    Missing(String),
    /// The process's own status cannot be read.
    #[error("read /proc/self/status")]
    Read(#[source] io::Error),
    /// The kernel did not take what was given back.
    #[error("give up {0}")]
    GiveUp(&'static str, #[source] io::Error),
}

/// Checks that all capabilities are effective, before anything is touched.
///
/// # Errors
/// Names each capability that is missing and what it is for.
pub fn check() -> Result<(), PrivilegeError> {
    let missing = missing(&status()?);
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError::Missing(missing.join(", "))) }
}

/// Gives up every capability but those that every agent works with and `also`, and the way to get any back: out of the permitted, the
/// effective, the inheritable, the ambient and the bounding set.
///
/// Only of the calling thread, and of those that it starts from then on: so before there are others.
///
/// # Errors
/// When the kernel refuses.
pub fn keep_only_needed(also: &[Capability]) -> Result<(), PrivilegeError> {
    let permitted = set(&status()?, "CapPrm:");
    let kept = CAPABILITIES.iter().chain(also).fold(0, |kept, one| kept | 1 << one.number) & permitted;
    drop_bounding(kept)?;
    // SAFETY: takes numbers alone.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    done(cleared.into(), "ambient capabilities")?;
    set_capabilities(kept)
}

/// No program that this thread or one of its children starts has more than it has, whatever its file or user allows.
///
/// # Errors
/// When the kernel refuses.
pub fn forbid_new() -> Result<(), PrivilegeError> {
    // SAFETY: takes numbers alone.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    done(set.into(), "new privileges")
}

/// Takes all but `kept` out of the bounding set.
fn drop_bounding(kept: u64) -> Result<(), PrivilegeError> {
    for number in (0..u64::BITS).filter(|number| kept >> number & 1 == 0) {
        // SAFETY: takes numbers alone.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        match done(dropped.into(), "capabilities of the bounding set") {
            // One that this kernel does not know; all that follow neither.
            Err(PrivilegeError::GiveUp(_, e)) if e.raw_os_error() == Some(libc::EINVAL) => break,
            // It takes CAP_SETPCAP. Who started the agent without that has bounded it.
            Err(PrivilegeError::GiveUp(_, e)) if e.raw_os_error() == Some(libc::EPERM) => break,
            other => other?,
        }
    }
    Ok(())
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: 32 of them.
#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

/// Makes `kept` the effective and permitted ones of this thread, and none inheritable.
fn set_capabilities(kept: u64) -> Result<(), PrivilegeError> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |bits: u64| {
        let bits = bits as u32;
        Data { effective: bits, permitted: bits, inheritable: 0 }
    };
    let data = [half(kept), half(kept >> u32::BITS)];
    // SAFETY: version 3 reads a header and two halves, which live through the call.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    done(set, "capabilities")
}

fn done(result: libc::c_long, what: &'static str) -> Result<(), PrivilegeError> {
    if result < 0 { Err(PrivilegeError::GiveUp(what, io::Error::last_os_error())) } else { Ok(()) }
}

fn status() -> Result<String, PrivilegeError> {
    fs::read_to_string("/proc/self/status").map_err(PrivilegeError::Read)
}

/// A set of capabilities as /proc/PID/status has it.
fn set(status: &str, line: &str) -> u64 {
    let hex = status.lines().find_map(|found| found.strip_prefix(line));
    hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn missing(status: &str) -> Vec<String> {
    let effective = set(status, "CapEff:");
    CAPABILITIES
        .iter()
        .filter(|one| one.required && effective >> one.number & 1 == 0)
        .map(|one| format!("{} (to {})", one.name, one.purpose))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing() {
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n"), [""; 0]);
        assert_eq!(missing("CapEff:\t000001fffffffffe\n"), [""; 0]);
        let one = missing("CapEff:\t000001ffffffefff\n");
        assert_eq!(one, ["CAP_NET_ADMIN (to make taps, attach programs)"]);
        assert_eq!(missing("CapEff:\t0000000000000000\n").len(), 4);
        assert_eq!(missing("no such line").len(), 4);
    }

    #[test]
    fn the_sets_are_told_apart() {
        let status = "CapInh:\t0000000000000001\nCapPrm:\t00000000000000ff\nCapEff:\t0000000000000002\n";
        assert_eq!([set(status, "CapPrm:"), set(status, "CapEff:"), set(status, "CapBnd:")], [0xff, 2, 0]);
    }

    /// What is left of a thread that gave up; the other threads of the tests keep what they have.
    #[test]
    fn a_thread_keeps_nothing_but_what_it_works_with() {
        let before = set(&status().unwrap(), "CapPrm:");
        let after = std::thread::spawn(|| {
            keep_only_needed(&[]).unwrap();
            forbid_new().unwrap();
            fs::read_to_string("/proc/thread-self/status").unwrap()
        })
        .join()
        .unwrap();
        let known = CAPABILITIES.iter().fold(0, |known, one| known | 1 << one.number);
        for line in ["CapPrm:", "CapEff:"] {
            assert_eq!(set(&after, line), before & known, "{line}");
        }
        assert_eq!([set(&after, "CapInh:"), set(&after, "CapAmb:")], [0, 0]);
        assert!(after.contains("NoNewPrivs:\t1"));
    }
}
