// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[kubevirt]`: whether and where virt-handler finds the agent.

use super::{section::section, setting::AbsolutePath};

section! {
    /// KubeVirt as a source of ports: whether and where virt-handler finds the agent.
    KubeVirt in "kubevirt" {
        /// The socket that virt-handler calls, as /var/run/kubevirt/plugins/netagent.sock; none when it is not set.
        at_start hooks: Option<AbsolutePath> = None,
        /// The name of netagent's binding plugin in the KubeVirt resource.
        at_start binding: String = "netagent".to_owned(),
        /// The kubelet's directory, in which the launchers' sockets are.
        at_start kubelet: AbsolutePath = AbsolutePath::usual("/var/lib/kubelet"),
        /// Whether VMs with the binding `bridge` are accelerated.
        at_start accelerate: bool = false,
    }
}
