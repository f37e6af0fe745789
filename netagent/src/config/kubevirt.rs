// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[kubevirt]`: whether and where virt-handler finds the agent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of KubeVirt's node hooks. The keys of the section are these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubeVirt {
    /// The socket that virt-handler calls, as /var/run/kubevirt/plugins/netagent.sock; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<PathBuf>,
    /// The name of netagent's binding plugin in the KubeVirt resource.
    pub binding: String,
    /// The kubelet's directory, in which the launchers' sockets are.
    pub kubelet: PathBuf,
    /// Whether VMs with the binding `bridge` are accelerated.
    pub accelerate: bool,
}

impl Default for KubeVirt {
    fn default() -> Self {
        Self {
            hooks: None,
            binding: "netagent".into(),
            kubelet: "/var/lib/kubelet".into(),
            accelerate: false,
        }
    }
}

impl KubeVirt {
    /// The paths in it, by their keys.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let hooks = self.hooks.as_ref().map(|hooks| ("kubevirt.hooks", hooks));
        hooks.into_iter().chain([("kubevirt.kubelet", &self.kubelet)])
    }
}
