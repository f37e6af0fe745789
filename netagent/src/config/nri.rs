// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[nri]`: the container runtime as a source of ports, before a pod starts.

use super::{section::section, setting::AbsolutePath};

section! {
    /// The container runtime as a source of ports, before a pod starts.
    Nri in "nri" {
        /// The runtime's NRI socket, as /run/nri/nri.sock; not served when it is not set.
        at_start socket: Option<AbsolutePath> = None,
    }
}
