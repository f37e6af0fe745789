// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capabilities that the agent works with (capabilities(7)).

use std::{fs, io};

/// Name, number and purpose of each.
const NEEDED: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "make taps, attach programs"),
    ("CAP_NET_RAW", 13, "answer DHCP"),
    ("CAP_SYS_ADMIN", 21, "enter the pods' namespaces"),
    ("CAP_BPF", 39, "load programs"),
];

/// The agent may not do its work.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities are missing.
    #[error("missing {0}; run as root")]
    Missing(String),
    /// The process's own status cannot be read.
    #[error("read /proc/self/status")]
    Read(#[source] io::Error),
}

/// Checks that all capabilities are effective, before anything is touched.
///
/// # Errors
/// Names each capability that is missing and what it is for.
pub fn check() -> Result<(), PrivilegeError> {
    let status = fs::read_to_string("/proc/self/status").map_err(PrivilegeError::Read)?;
    let missing = missing(&status);
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError::Missing(missing.join(", "))) }
}

fn missing(status: &str) -> Vec<String> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    NEEDED
        .iter()
        .filter(|(_, number, _)| effective >> number & 1 == 0)
        .map(|(name, _, purpose)| format!("{name} (to {purpose})"))
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
}
