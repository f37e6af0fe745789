// SPDX-License-Identifier: MIT OR Apache-2.0
//! The netns tier: real links, taps, DHCP clients and the agent's own process, in namespaces made by each test.

#![expect(
    clippy::unwrap_used,
    reason = "every function here is part of a test, and clippy.toml frees only `#[test]` ones"
)]

mod accelerate;
mod addressless;
mod again;
mod attach;
mod bad_pod;
mod bystander;
mod chaos;
mod clients;
mod cni;
mod configuration;
mod crash;
mod deploy;
mod detach;
mod foreign;
mod gone;
mod handoff;
mod hostile;
mod image;
mod kill;
mod live_changes;
mod many;
mod metrics;
mod monitoring;
mod nft_chain;
mod nftables;
mod node_hooks;
mod ordinary;
mod path_mtu;
mod queues;
mod race;
mod repair;
mod routers;
mod scene;
mod security;
mod segments;
mod self_test;
mod silence;
mod silent_runtime;
mod snapshot;
mod spoof;
mod start;
mod tier;
mod traces;
mod upgrade;
mod vectors;
mod wired;
mod xdp;

/// Why every test of this tier is ignored by default.
#[macro_export]
macro_rules! require_netns {
    () => {
        netagent_tests::require!(
            netagent_tests::require::Need::Root,
            netagent_tests::require::Need::Tun,
            netagent_tests::require::Need::BpfFs,
            netagent_tests::require::Need::Agent,
            netagent_tests::require::Need::Program("ip", "iproute2"),
            netagent_tests::require::Need::Program("bpftool", "bpftool"),
            netagent_tests::require::Need::Program("ping", "iputils-ping"),
            netagent_tests::require::Need::Program("udhcpc", "udhcpc"),
            netagent_tests::require::Need::Program("busybox", "busybox"),
            netagent_tests::require::Need::Program("dhclient", "isc-dhcp-client"),
            netagent_tests::require::Need::Program("iperf3", "iperf3"),
        );
    };
}
