// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manifests: what kubectl makes of them, read strictly against the types of Kubernetes and of what they extend; and
//! the systemd unit.

mod rendered;
mod strict;
mod unit;

pub(crate) use rendered::objects;
