// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes of a guest that asks for routers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::hand_off_invariants::router_solicitation(data));
