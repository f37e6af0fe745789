// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pod's sandbox as a container runtime tells of it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::core::origin::Pod;

/// One sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's name for it.
    pub id: String,
    /// Whose it is.
    pub pod: Pod,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where its network is.
    pub whereabouts: Whereabouts,
}

/// Where a sandbox's network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In a namespace of the pod's.
    Pod {
        /// The namespace.
        netns: PathBuf,
        /// A process in it, by its number on the node; 0 where the runtime does not tell.
        pid: u32,
        /// The pod's resolv.conf, where the runtime tells.
        resolv_conf: Option<PathBuf>,
        /// The pod's host name, where the runtime tells.
        hostname: Option<String>,
    },
    /// In the node's.
    Node,
    /// The runtime does not tell.
    Unknown,
}

/// `/var/run` is a link to `/run` wherever there is one (FHS 3.0, 5.13), but an agent's container may lack it.
pub(super) fn in_run(path: &str) -> PathBuf {
    match Path::new(path).strip_prefix("/var/run") {
        Ok(rest) => Path::new("/run").join(rest),
        Err(_) => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_name_of_run_is_not_needed() {
        assert_eq!(in_run("/var/run/netns/cni-1"), Path::new("/run/netns/cni-1"));
        assert_eq!(in_run("/run/netns/cni-1"), Path::new("/run/netns/cni-1"));
        assert_eq!(in_run("/var/running"), Path::new("/var/running"));
    }
}
