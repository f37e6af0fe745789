// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel below netlink and BPF: namespaces, tap ioctls, packet sockets, capabilities.
//!
//! The only module with `unsafe`, `ioctl` and `setns`.
#![expect(unsafe_code, reason = "system calls without a safe wrapper live here and nowhere else")]

mod bpf;
pub mod bpf_array;
pub mod bpf_link;
pub mod bpf_program;
pub mod bpffs;
pub mod ethtool;
pub mod heap;
pub mod labelled_tap;
pub mod locked_memory;
pub mod neighbour_socket;
pub mod netlink_events;
pub mod netns;
pub mod netns_cookie;
pub mod open_files;
pub mod packet_socket;
pub mod peer;
pub mod privileges;
pub mod readiness;
pub mod regular_file;
pub mod selinux;
pub mod supervisor;
pub mod tap;
pub mod tap_queue;
pub mod xtables;
