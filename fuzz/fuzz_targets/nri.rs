// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes on the NRI socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::nri_invariants::nri(data));
