// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who plays the guest: a namespace behind a frame pump, QEMU, or the pod's own processes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use netagent_tests::{
    guest::{Accel, GuestSpec},
    image::Image,
    netns::Netns,
    stand_in::{GUEST_LINK, StandIn, StandInSpec},
    tap::Tap,
    topology::{GATEWAY4, POD4, PREFIX4, Topology},
};
use nix::{time::clock_getcpuclockid, unistd::Pid};

use crate::bench::{
    load::{Cpus, pinned},
    scene::{Plug, TAP, Wired, spelled},
    variant::Variant,
};

const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// TCP port on which a guest of QEMU's sends everything back.
pub(in crate::bench) const ECHO_PORT: u16 = 8765;

/// What guests a run has.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) enum Player<'a> {
    /// Namespaces, in all variants.
    StandIn,
    /// QEMU, in a few.
    Qemu(&'a Image, Accel),
}

/// What holds the guest's end of the tap.
#[derive(Debug)]
pub(super) enum Vmm {
    StandIn(StandIn),
    Qemu(Box<netagent_tests::guest::Guest>),
    /// A container has none.
    None,
}

impl Player<'_> {
    /// What a case is called besides: a guest of QEMU's is named.
    pub(in crate::bench) fn suffix(self) -> String {
        match self {
            Self::StandIn => String::new(),
            Self::Qemu(_, accel) => format!(", guest in QEMU ({accel})"),
        }
    }

    pub(super) fn plays(self, variant: Variant) -> bool {
        match self {
            Self::StandIn => true,
            Self::Qemu(..) => matches!(variant, Variant::Bridge | Variant::Mirred | Variant::NetagentPeer),
        }
    }
}

impl Vmm {
    /// With the pod's address in the guest. The stand-in's pump is on the node's CPU, since it does the node's work as vhost
    /// does; QEMU, which is the guest, on the other.
    pub(super) fn start(wired: &Wired, player: Player<'_>, cpus: Cpus) -> Result<Self> {
        if wired.plug == Plug::None {
            return Ok(Self::None);
        }
        let mac = spelled(wired.guest_mac);
        match player {
            Player::StandIn => stand_in(wired.open()?, &mac, cpus.load).map(Self::StandIn),
            Player::Qemu(image, accel) => {
                let spec = GuestSpec { dhcp: None, accel: Some(accel), ..GuestSpec::new(TAP, &mac) };
                qemu(image, &wired.topology.pod, &spec, cpus.drain).map(|guest| Self::Qemu(Box::new(guest)))
            }
        }
    }

    pub(super) fn inside<'a>(&'a self, topology: &'a Topology) -> Option<&'a Netns> {
        match self {
            Self::StandIn(stand_in) => Some(&stand_in.guest),
            Self::Qemu(_) => None,
            Self::None => Some(&topology.pod),
        }
    }

    pub(super) fn cpu_time(&self) -> Result<Duration> {
        match self {
            Self::StandIn(stand_in) => stand_in.cpu_time(),
            Self::Qemu(guest) => {
                let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(guest.pid()).context("pid")?));
                Ok(clock.and_then(|clock| clock.now()).context("cannot read QEMU's CPU clock")?.into())
            }
            Self::None => Ok(Duration::ZERO),
        }
    }
}

fn stand_in(tap: Tap, mac: &str, cpu: usize) -> Result<StandIn> {
    let stand_in = StandIn::join(tap, &StandInSpec { cpu: Some(cpu), ..StandInSpec::new(TAP, mac) })?;
    stand_in.guest.ip(&format!("address add {POD4}/{PREFIX4} dev {GUEST_LINK}"))?;
    stand_in.guest.ip(&format!("route add default via {GATEWAY4}"))?;
    Ok(stand_in)
}

fn qemu(image: &Image, netns: &Netns, spec: &GuestSpec, cpu: usize) -> Result<netagent_tests::guest::Guest> {
    // QEMU's threads stay where its first one is started.
    let guest = pinned(cpu, || netagent_tests::guest::Guest::boot(image, netns, spec))?;
    guest.wait_ready(BOOT_TIMEOUT)?;
    for command in [
        format!("ip address add {POD4}/{PREFIX4} dev {GUEST_LINK}"),
        format!("ip route add default via {GATEWAY4}"),
        format!(
            "socat TCP4-LISTEN:{ECHO_PORT},fork,reuseaddr EXEC:/usr/bin/cat,nofork >/run/tcp-echo.log 2>&1 &"
        ),
    ] {
        guest.sh_ok(&command, COMMAND_TIMEOUT)?;
    }
    Ok(guest)
}
