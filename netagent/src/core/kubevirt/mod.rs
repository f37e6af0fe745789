// SPDX-License-Identifier: MIT OR Apache-2.0
//! What KubeVirt and netagent have agreed on without a word between them.

pub mod asks;
pub mod names;
pub mod vmi;
