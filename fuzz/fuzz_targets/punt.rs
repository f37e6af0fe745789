// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records of the punt ring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::hand_off_invariants::punt(data));
