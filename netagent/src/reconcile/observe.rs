// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what a port is now: kernel, pins, maps and the hand-off.

use super::{Parts, PassError};
use crate::{
    core::{
        desired::entry_id,
        ids::{IfName, PortId},
        mode::Mode,
        observed::{Clsact, Observed, ObservedProgram, ObservedTap, Tap, Targets},
        owned,
        program::Program,
        spec::PortSpec,
        tier::Hook,
    },
    datapath::LinkPin,
    netlink::{BpfFilter, IngressQdisc, LinkState, Netlink},
    sys::netns::Netns,
};

/// A namespace and a netlink socket in it.
pub(super) struct Inside {
    pub(super) netns: Netns,
    pub(super) netlink: Netlink,
}

/// Reads everything of the port; without a namespace only what is outside of it.
///
/// # Errors
/// When something cannot be read; and when the namespace cannot be reached but its devices carry our programs: taking
/// those off would leave a guest that sends past them.
pub(super) async fn observe(
    parts: &Parts,
    spec: &PortSpec,
    inside: Option<&Inside>,
) -> Result<Observed, PassError> {
    let id = spec.id();
    let own_slot = parts.slots.of(&id);
    let entry = match own_slot {
        Some(slot) => {
            let entry = parts.datapath.maps().entry(slot)?;
            entry.filter(|entry| entry_id(entry).as_ref() == Some(&id)).map(|entry| (slot, entry))
        }
        None => None,
    };
    let serving = own_slot.and_then(|slot| parts.dhcp.serving(slot, &id));
    let targets = match own_slot {
        Some(slot) => parts.datapath.targets(slot)?,
        None => Targets::default(),
    };
    let mut observed = Observed {
        entry,
        targets,
        slot: own_slot.or_else(|| parts.slots.next()),
        serving: serving.as_ref().map(|s| s.guest.clone()),
        ..Observed::default()
    };

    let Some(inside) = inside else {
        observed.from_vm = outside(parts, spec, Program::FromVm)?;
        observed.from_pod = outside(parts, spec, Program::FromPod)?;
        observed.to_vm = outside(parts, spec, Program::ToVm)?;
        observed.xdp_from_vm = outside(parts, spec, Program::XdpFromVm)?;
        observed.xdp_to_vm = outside(parts, spec, Program::XdpToVm)?;
        return Ok(observed);
    };
    let tap = inside.netlink.link(&spec.tap.name).await?;
    let pod_link = inside.netlink.link(&spec.pod_link).await?;
    let master = pod_link.as_ref().and_then(|link| link.master);
    observed.tap = tap.as_ref().map_or(ObservedTap::Absent, |link| classify(&id, link, master));
    // Whoever has the tap's name, our programs can only be on a tap of ours, or on the one that is accelerated.
    let own_tap = tap
        .as_ref()
        .filter(|_| spec.mode == Mode::Accelerate || matches!(observed.tap, ObservedTap::Ours(_)));
    let slot = observed.slot;
    observed.from_vm = program(parts, inside, spec, Program::FromVm, own_tap, slot).await?;
    observed.from_pod = program(parts, inside, spec, Program::FromPod, pod_link.as_ref(), slot).await?;
    observed.to_vm = program(parts, inside, spec, Program::ToVm, pod_link.as_ref(), slot).await?;
    observed.xdp_from_vm = program(parts, inside, spec, Program::XdpFromVm, own_tap, slot).await?;
    observed.xdp_to_vm = program(parts, inside, spec, Program::XdpToVm, pod_link.as_ref(), slot).await?;
    if let Some(link) = &pod_link {
        observed.clsact = clsact(&inside.netlink, link.ifindex).await?;
    }
    // An answer through a tap that was made anew since needs its new index.
    if serving.is_some_and(|s| own_tap.is_some_and(|link| link.ifindex != s.tap_ifindex)) {
        observed.serving = None;
    }
    Ok(observed)
}

/// `master`: the bridge that the pod link is in.
fn classify(id: &PortId, link: &LinkState, master: Option<u32>) -> ObservedTap {
    let tap = link.tun.as_ref().filter(|tun| tun.tap).map(|tun| Tap {
        ifindex: link.ifindex,
        mtu: link.mtu,
        multi_queue: tun.multi_queue,
        uid: tun.uid,
        gid: tun.gid,
        noqueue: link.qdisc == "noqueue",
        up: link.up,
    });
    match tap {
        Some(tap) if owned::is_tap_of(id, link.alias.as_deref()) => ObservedTap::Ours(tap),
        Some(tap) if master.is_some() && link.master == master => ObservedTap::Bridged(tap),
        _ => {
            let kind = if link.kind.is_empty() { "device" } else { &link.kind };
            ObservedTap::Foreign(format!("a {kind} with index {}", link.ifindex))
        }
    }
}

/// The name of the device that a program belongs on.
pub(super) fn device(spec: &PortSpec, program: Program) -> &IfName {
    if program.is_on_tap() { &spec.tap.name } else { &spec.pod_link }
}

fn outside(parts: &Parts, spec: &PortSpec, program: Program) -> Result<ObservedProgram, PassError> {
    match parts.datapath.link_pin(&spec.id(), program)? {
        LinkPin::Absent => Ok(ObservedProgram::Absent),
        LinkPin::Severed => Ok(ObservedProgram::Severed),
        LinkPin::Attached { .. } => Err(PassError::OutOfReach(spec.netns.clone())),
    }
}

async fn program(
    parts: &Parts,
    inside: &Inside,
    spec: &PortSpec,
    program: Program,
    link: Option<&LinkState>,
    slot: Option<u32>,
) -> Result<ObservedProgram, PassError> {
    let current = |program_id| match slot {
        Some(slot) => parts.datapath.is_current(program, program_id, slot),
        None => Ok(false),
    };
    match parts.datapath.link_pin(&spec.id(), program)? {
        LinkPin::Attached { ifindex, program_id } if link.is_some_and(|l| l.ifindex == ifindex) => {
            let hook = if program.is_xdp() { Hook::Xdp } else { Hook::Tcx };
            return Ok(ObservedProgram::Attached { hook, current: current(program_id)? });
        }
        LinkPin::Attached { ifindex, .. } => {
            let name = device(spec, program).clone();
            return Err(PassError::Elsewhere { program, ifindex, name });
        }
        LinkPin::Severed => return Ok(ObservedProgram::Severed),
        LinkPin::Absent => {}
    }
    let Some(link) = link.filter(|_| !program.is_xdp()) else { return Ok(ObservedProgram::Absent) };
    let filters = inside.netlink.filters(link.ifindex, program.side()).await?;
    match filters.iter().find(|f| is_ours(program, f)) {
        Some(filter) => {
            Ok(ObservedProgram::Attached { hook: Hook::Clsact, current: current(filter.program_id)? })
        }
        None => Ok(ObservedProgram::Absent),
    }
}

pub(super) fn is_ours(program: Program, filter: &BpfFilter) -> bool {
    filter.kind == "bpf" && owned::is_filter_of(program, filter.priority, filter.handle, &filter.name)
}

async fn clsact(netlink: &Netlink, ifindex: u32) -> Result<Clsact, PassError> {
    Ok(match netlink.ingress_qdisc(ifindex).await? {
        IngressQdisc::Absent => Clsact::Absent,
        IngressQdisc::Ingress => Clsact::IngressOnly,
        IngressQdisc::Clsact => {
            let mut foreign = false;
            for program in [Program::ToVm, Program::FromPod] {
                let filters = netlink.filters(ifindex, program.side()).await?;
                foreign |= filters.iter().any(|f| !is_ours(program, f));
            }
            if foreign { Clsact::Shared } else { Clsact::Ours }
        }
    })
}
