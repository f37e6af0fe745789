// SPDX-License-Identifier: MIT OR Apache-2.0
//! The containerd tier: real containerds of several releases, real sandboxes with real CNI plugins, and the agent that
//! hears of them by CRI or by NRI.

#![expect(
    clippy::unwrap_used,
    reason = "every function here is part of a test, and clippy.toml frees only `#[test]` ones"
)]

mod before_start;
mod by_list;
mod cri;
mod scene;

/// Why every test of this tier is ignored by default.
#[macro_export]
macro_rules! require_containerd {
    () => {
        netagent_tests::require!(
            netagent_tests::require::Need::Root,
            netagent_tests::require::Need::Tun,
            netagent_tests::require::Need::BpfFs,
            netagent_tests::require::Need::Agent,
            netagent_tests::require::Need::Program("ip", "iproute2"),
            netagent_tests::require::Need::Program("ping", "iputils-ping"),
            netagent_tests::require::Need::Program("udhcpc", "udhcpc"),
            netagent_tests::require::Need::Program("cc", "gcc"),
            netagent_tests::require::Need::Program("dpkg-deb", "dpkg"),
        );
    };
}
