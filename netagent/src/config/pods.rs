// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[pods]`: what pods may ask for by their annotations.

use super::section::section;

section! {
    /// What pods may ask for by their annotations.
    Pods in "pods" {
        /// Whether annotations may make exceptions from the guard: whoever may create a pod may then send with any address.
        at_start guard_exceptions: bool = false,
    }
}
