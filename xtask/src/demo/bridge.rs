// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same guest over a Linux bridge: what netagent replaces.

use anyhow::Result;
use netagent_tests::bridge::{BRIDGE, Bridge};

use super::{
    story::{HOSTNAME, Plan, TAP, Told, boot, network, step},
    traffic,
};

/// Builds, measures, takes down.
pub(super) fn play(plan: &Plan) -> Result<Told> {
    eprintln!("\nThe same over a Linux bridge (KubeVirt's bridge binding):");
    let topology = network()?;
    let (_bridge, mac) = step("bridge", |_| {
        let wired = Bridge::wire(&topology, TAP, &plan.image.busybox(), HOSTNAME)?;
        Ok((wired, format!("{BRIDGE} joins eth0 and {TAP}; the pod's address is taken off eth0")))
    })?;
    let (guest, booted) = boot(plan, &topology, &mac)?;
    let traffic = traffic::measure(plan, &topology, &guest)?;
    Ok(Told { booted, traffic })
}
