// SPDX-License-Identifier: MIT OR Apache-2.0
//! SELinux, as far as a tap needs it: the label of who makes it stays the tap's, and who opens it must be allowed to.
//!
//! A launcher may open taps of its own label and none of the agent's (`selinux_tun_dev_alloc_security` and
//! `selinux_tun_dev_open`, security/selinux/hooks.c).

use std::{
    ffi::CString,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// `1` where the policy is enforced; not there on a node without SELinux.
const ENFORCE: &str = "/sys/fs/selinux/enforce";
/// Bytes of a label; the longest that policies make has a few hundred.
const LONGEST: usize = 4096;

/// A security context, as in `system_u:system_r:container_t:s0:c1,c2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// For the kernel.
    pub(super) fn to_c_string(&self) -> CString {
        // It holds no NUL: `from_str` lets none through.
        CString::new(self.0.as_str()).unwrap_or_default()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let text = text.trim_end_matches(['\0', '\n']);
        let parts = text.splitn(4, ':').filter(|part| !part.is_empty()).count();
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if (3..=4).contains(&parts) && printable && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(LabelError(text.chars().take(64).collect()))
        }
    }
}

/// Not a security context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no SELinux label", .0.escape_debug())]
pub struct LabelError(String);

/// Whether the node enforces a policy.
pub fn is_enforced() -> bool {
    fs::read_to_string(ENFORCE).is_ok_and(|enforced| enforced.trim() == "1")
}

/// The label that a tap in a process's namespace needs: the process's own, where the node enforces and the namespace was
/// named by the process. None elsewhere: without SELinux nothing has a label, and of a namespace with another name nobody
/// knows who will open the tap.
pub fn label_for(netns: &Path) -> Option<Label> {
    if !is_enforced() {
        return None;
    }
    let attribute = attribute_of(netns)?;
    fs::read_to_string(attribute).ok()?.parse().ok()
}

/// Where the process that names a namespace has its label.
fn attribute_of(netns: &Path) -> Option<PathBuf> {
    let process = netns.to_str()?.strip_suffix("/ns/net")?;
    let pid = process.strip_prefix("/proc/")?;
    pid.bytes().all(|b| b.is_ascii_digit()).then(|| Path::new(process).join("attr/current"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_the_kernel_writes_it() {
        let label = |text: &str| text.parse::<Label>().map(|label| label.0);
        let launcher = "system_u:system_r:container_t:s0:c12,c871";
        assert_eq!(label(&format!("{launcher}\0")).unwrap(), launcher);
        assert_eq!(label("u:r:t\n").unwrap(), "u:r:t");
        // AppArmor has its words at the same place.
        for other in
            ["", "unconfined", "docker-default (enforce)", "a:b", "::c:d", "a:b:c\nd", &"a:b:".repeat(2000)]
        {
            assert!(label(other).is_err(), "{other}");
        }
    }

    #[test]
    fn only_a_namespace_with_a_process_s_name_has_one() {
        let of = |netns: &str| attribute_of(Path::new(netns)).map(|path| path.display().to_string());
        assert_eq!(of("/proc/12/ns/net").as_deref(), Some("/proc/12/attr/current"));
        for other in ["/run/netns/cni-1", "/proc/self/ns/net", "/proc/1/root/ns/net", "/proc/12/ns/mnt"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
