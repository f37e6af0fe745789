// SPDX-License-Identifier: MIT OR Apache-2.0
//! Header readers at any offset.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::invariants::wire(data));
