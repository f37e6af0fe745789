// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes of a guest to the DHCPv4 server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netagent_tests::hand_off_invariants::dhcp_v4(data));
