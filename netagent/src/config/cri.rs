// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[cri]`: the container runtime's list of pods as a source of ports.

use super::{section::section, setting::AbsolutePath};

section! {
    /// The container runtime's list of pods as a source of ports.
    Cri in "cri" {
        /// The runtime's CRI socket, as /run/containerd/containerd.sock or /run/crio/crio.sock; not read when it is not set.
        at_start socket: Option<AbsolutePath> = None,
        /// Whether the runtime's events are listened to; without them the list is read every few seconds.
        at_start events: bool = true,
    }
}
