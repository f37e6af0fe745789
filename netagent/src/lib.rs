// SPDX-License-Identifier: MIT OR Apache-2.0
//! netagent: gives a VM inside a pod the pod's network.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod core;
pub mod datapath;
pub mod dhcp;
pub mod discovery;
pub mod netlink;
pub mod reconcile;
pub mod sys;
pub mod telemetry;
