// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pure part: what a port should be, what the kernel says, and the difference as a list of steps.
//!
//! No clock, no files, no sockets, no async: everything here is a function of its arguments (`cargo xtask lint`
//! checks it).

pub mod annotations;
pub mod ask;
pub mod bridged;
pub mod budget;
pub mod desired;
pub mod guard;
pub mod guest;
pub mod hand_off;
pub mod ids;
pub mod kubevirt;
pub mod mode;
pub mod nearest;
pub mod neighbour;
pub mod observed;
pub mod origin;
pub mod owned;
pub mod plan;
pub mod pod;
pub mod program;
pub mod question;
pub mod render;
pub mod resolv_conf;
pub mod router_search;
pub mod self_test;
pub mod snapshot;
pub mod spec;
pub mod tier;
pub mod xdp;
