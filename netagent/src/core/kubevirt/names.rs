// SPDX-License-Identifier: MIT OR Apache-2.0
//! What KubeVirt calls the interfaces of a VM's pod (pkg/network/namescheme there). Both sides compute the names; nobody
//! passes them.

use sha2::{Digest as _, Sha256};

use crate::core::ids::IfName;

/// User and group of QEMU in a launcher pod: the tap is theirs.
pub const QEMU: u32 = 107;

/// The primary network's pod link and tap.
const PRIMARY: [&str; 2] = ["eth0", "tap0"];
/// Digits of the hash: with a prefix of three letters they leave one of the 15 bytes that a name may have.
const DIGITS: usize = 11;

/// The two interfaces of one VM network in the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// What the CNI made.
    pub pod_link: IfName,
    /// What QEMU opens.
    pub tap: IfName,
}

impl Names {
    /// The names for the pod's primary network: that of the pod itself, or of the Multus network that stands in for it.
    pub fn primary() -> Self {
        let [pod_link, tap] = PRIMARY.map(|name| IfName::made(name.to_owned()));
        Self { pod_link, tap }
    }

    /// The names for any other network, by its name in the VM's spec (`spec.networks[].name`), which is not that of its
    /// NetworkAttachmentDefinition.
    pub fn secondary(network: &str) -> Self {
        let hash = hash(network);
        Self { pod_link: IfName::made(format!("pod{hash}")), tap: IfName::made(format!("tap{hash}")) }
    }
}

fn hash(network: &str) -> String {
    let mut digits: String = Sha256::digest(network).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From KubeVirt's own tests, and from what Multus is asked for on its clusters.
    const VECTORS: [(&str, &str); 4] = [
        ("default", "37a8eec1ce1"),
        ("mynetwork", "6d1b23123e2"),
        ("red", "b1f51a511f1"),
        ("linux-bridge", "72ad293a5c9"),
    ];

    #[test]
    fn a_secondary_network_has_the_names_that_kubevirt_gives_it() {
        for (network, hash) in VECTORS {
            let names = Names::secondary(network);
            assert_eq!(names.pod_link.as_str(), format!("pod{hash}"), "{network}");
            assert_eq!(names.tap.as_str(), format!("tap{hash}"), "{network}");
        }
    }

    #[test]
    fn the_primary_network_has_the_usual_names() {
        let names = Names::primary();
        assert_eq!((names.pod_link.as_str(), names.tap.as_str()), ("eth0", "tap0"));
    }

    #[test]
    fn any_name_of_a_network_makes_names_of_interfaces() {
        for network in ["", "a b/c:d%e", "ä", &"n".repeat(10_000)] {
            let names = Names::secondary(network);
            assert_eq!((names.pod_link.as_str().len(), names.tap.as_str().len()), (14, 14));
        }
    }
}
