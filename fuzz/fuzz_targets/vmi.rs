// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any VMI.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::vmi_invariants::vmi(data));
