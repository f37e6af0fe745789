// SPDX-License-Identifier: MIT OR Apache-2.0
//! KubeVirt as a source: virt-handler says when a VM starts, stops or arrives, and what its interfaces are.

mod hooks;
mod launcher;

pub use hooks::{HookSettings, serve};

/// The messages of proto/node_hooks.proto, which documents them.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/node_hooks.proto"
)]
pub mod v1alpha1 {
    tonic::include_proto!("kubevirt.hooks.plugins.v1alpha1");
}
