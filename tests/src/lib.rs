// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test harness of netagent: namespaces, pods, agents, guests. It drives the outside world with independent tools.

pub mod agent;
pub mod attached;
pub mod bpffs;
pub mod bridge;
pub mod ethtool;
pub mod flood;
pub mod guest;
pub mod image;
pub mod interrupt;
pub mod iperf;
pub mod lease;
pub mod netns;
pub mod packet_socket;
pub mod ping;
pub mod poll;
pub mod process;
pub mod require;
pub mod stand_in;
pub mod tap;
pub mod topology;
