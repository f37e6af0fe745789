// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames for the guest.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::invariants::to_vm(data));
