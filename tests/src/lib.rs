// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test harness of netagent: namespaces, pods, agents, guests. It drives the outside world with independent tools.

pub mod agent;
pub mod attached;
pub mod bpf_stub;
pub mod bpffs;
pub mod bridge;
pub mod capture;
pub mod client;
pub mod cni;
pub mod configured;
pub mod counting;
pub mod dialogue;
pub mod ethtool;
pub mod exchange;
pub mod fact;
pub mod flood;
pub mod guest;
pub mod image;
pub mod interrupt;
pub mod invariants;
pub mod iperf;
pub mod lease;
pub mod load;
pub mod marking;
pub mod netns;
pub mod packet_socket;
pub mod ping;
pub mod poll;
pub mod process;
pub mod require;
pub mod resolver;
pub mod stand_in;
pub mod tap;
pub mod topology;
pub mod uml;
pub mod vectors;
