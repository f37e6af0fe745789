// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real DHCP clients in pods of every shape: what they end up with is what the pod has.

mod another_gateway;
mod case;
mod decode;
mod differences;
mod ipv6_over_time;
mod long_options;
mod odd_names;
mod scenarios;
mod shapes;
mod table;
mod wire;

/// What the tests of this folder need beyond the others.
#[macro_export]
macro_rules! require_clients {
    () => {
        $crate::require_netns!();
        netagent_tests::require!(
            netagent_tests::require::Need::Program("tcpdump", "tcpdump"),
            netagent_tests::require::Need::Program("tshark", "tshark"),
        );
        for client in netagent_tests::client::Client::ALL {
            let missing = netagent_tests::require::missing(client.needs());
            assert!(missing.is_empty(), "this test cannot run here: {}", missing.join("; "));
        }
    };
}
