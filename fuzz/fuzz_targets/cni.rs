// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any call of the CNI plugin.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::cni_invariants::cni(data));
