// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest in each variant's pod, whose own stack answers: what streams and requests run between.

pub(super) mod alone;
mod vmm;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use netagent_tests::{interrupt, iperf, netns::Netns, ping::Ping, poll, process::Process, topology::POD4};

use self::vmm::Vmm;
pub(super) use self::vmm::{ECHO_PORT, Player};
use super::{
    load::Cpus,
    scene::Wired,
    step,
    variant::{Direction, Variant, Workshop},
};

/// A bridge port forwards only some time after its tap was opened.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const PINGS: u32 = 5;
const IPERF_PORT: u16 = 5201;

/// A guest that answers the node.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) variant: Variant,
    // Dropped before the pod: they are in it, and hold its tap open.
    _iperf: Option<Process>,
    vmm: Vmm,
    wired: Wired,
}

/// One in each of `variants`, all at the same time, and who could not be had, with the reason.
pub(super) fn all(
    variants: &[Variant],
    workshop: &Workshop,
    player: Player<'_>,
    cpus: Cpus,
) -> Result<(Vec<Guest>, Vec<String>)> {
    step("guests", |step| {
        let (mut guests, mut absent) = (Vec::new(), Vec::new());
        for variant in variants.iter().filter(|variant| player.plays(**variant)) {
            let title = variant.title(Direction::FromVm);
            step.note(title);
            match Guest::move_in(*variant, workshop, player, cpus) {
                Ok(guest) => guests.push(guest),
                Err(error) if interrupt::requested() => return Err(error),
                Err(error) => absent.push(format!("{title}: {error:#}")),
            }
        }
        let detail = format!("{} variants, each in a pod of its own, answer the node", guests.len());
        Ok(((guests, absent), detail))
    })
}

impl Guest {
    /// Wires a pod, puts a guest into it, and has it answer. An error says what did not.
    fn move_in(variant: Variant, workshop: &Workshop, player: Player<'_>, cpus: Cpus) -> Result<Self> {
        let wired = variant.wire(workshop)?;
        let vmm = Vmm::start(&wired, player, cpus)?;
        let mut guest = Self { variant, _iperf: None, vmm, wired };
        guest._iperf = guest
            .inside()
            .map(|inside| iperf::server(inside, IPERF_PORT, &guest.log("iperf3")))
            .transpose()?;
        guest.prove().context("the guest does not answer the node's pings")?;
        Ok(guest)
    }

    /// The node.
    pub(super) fn node(&self) -> &Netns {
        &self.wired.topology.node
    }

    /// Where the guest's processes run; nowhere if they are QEMU's.
    pub(super) fn inside(&self) -> Option<&Netns> {
        self.vmm.inside(&self.wired.topology)
    }

    /// Where iperf3 keeps its two ends (`-A`), the one in the guest on `cpu`, if that is the guest's to say.
    pub(super) fn affinity(&self, node: usize, cpu: usize) -> String {
        match self.inside() {
            Some(_) => format!("{node},{cpu}"),
            None => format!("{node},0"),
        }
    }

    /// Its variant's name on the command line.
    pub(super) fn name(&self) -> String {
        self.variant.name()
    }

    /// Its variant, for people.
    pub(super) fn title(&self) -> &'static str {
        self.variant.title(Direction::FromVm)
    }

    /// A file for what `program` says.
    pub(super) fn log(&self, program: &str) -> PathBuf {
        self.wired.topology.dir().join(format!("{program}.log"))
    }

    /// CPU time of its VMM so far; of a container none.
    pub(super) fn vmm_time(&self) -> Result<Duration> {
        self.vmm.cpu_time()
    }

    fn prove(&self) -> Result<()> {
        let (count, address) = (PINGS.to_string(), POD4.to_string());
        poll::try_until("an answer to every ping", READY_TIMEOUT, || {
            let done = self.node().exec(&["ping", "-c", &count, "-i", "0.01", "-W", "1", &address])?;
            Ok((Ping::parse(&done.stdout)?.received == PINGS).then_some(()))
        })
    }
}
