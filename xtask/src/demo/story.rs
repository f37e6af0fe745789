// SPDX-License-Identifier: MIT OR Apache-2.0
//! What both tellings share: the plan, the steps' lines, the guest that boots.

use std::time::Duration;

use anyhow::Result;
use netagent_tests::{
    guest::{Accel, Guest, GuestSpec},
    image::Image,
    lease::{DhcpClient, Lease},
    topology::{Pod, Topology},
};

use super::traffic::Traffic;
use crate::progress::Step;

/// The tap's name in the pod.
pub(super) const TAP: &str = "tap0";
/// What the guest is told to be called.
pub(super) const HOSTNAME: &str = "demo-vm";
const BOOT_TIMEOUT: Duration = Duration::from_secs(90);

/// What is to be played.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) image: Image,
    pub(super) client: DhcpClient,
    pub(super) seconds: u32,
}

/// A guest that has its lease.
#[derive(Debug)]
pub(super) struct Booted {
    pub(super) lease: Lease,
    /// From QEMU's start to the lease.
    pub(super) lease_after: Duration,
    pub(super) accel: Accel,
    pub(super) kernel: String,
    pub(super) mac: String,
}

/// What can be said of either way of wiring.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) booted: Booted,
    pub(super) traffic: Traffic,
}

/// Runs one step: its line says how it ended.
pub(super) fn step<T>(name: &str, work: impl FnOnce(&Step) -> Result<(T, String)>) -> Result<T> {
    let step = Step::start(name);
    match work(&step) {
        Ok((value, detail)) => {
            step.end("ok", &detail);
            Ok(value)
        }
        Err(error) => {
            step.end("FAILED", "");
            Err(error)
        }
    }
}

/// Node, pod, veth, as a CNI leaves them.
pub(super) fn network() -> Result<Topology> {
    step("network", |_| {
        let topology = Pod::default().build()?;
        let detail =
            format!("namespaces {} and {}, joined by a veth", topology.node.name(), topology.pod.name());
        Ok((topology, detail))
    })
}

/// Boots the guest on the tap and waits for its lease.
pub(super) fn boot(plan: &Plan, topology: &Topology, mac: &str) -> Result<(Guest, Booted)> {
    step("guest", |step| {
        step.note("looking for KVM");
        let accel = Accel::detect(&plan.image)?;
        step.note(format!("booting under {accel}, waiting for {}'s lease", plan.client));
        let spec = GuestSpec { dhcp: Some(plan.client), accel: Some(accel), ..GuestSpec::new(TAP, mac) };
        let guest = Guest::boot(&plan.image, &topology.pod, &spec)?;
        let (lease, lease_after) = guest.wait_lease(BOOT_TIMEOUT)?;
        guest.wait_ready(BOOT_TIMEOUT)?;
        let kernel = guest.sh_ok("uname -r", Duration::from_secs(20))?;
        let detail = format!(
            "{}/{} leased by {} {:.1} s after QEMU's start ({accel})",
            lease.address,
            lease.prefix,
            plan.client,
            lease_after.as_secs_f64()
        );
        Ok(((guest, Booted { lease, lease_after, accel, kernel, mac: mac.to_owned() }), detail))
    })
}
