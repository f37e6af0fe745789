// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what a port is now: kernel, pins, maps and the hand-off.

use super::{Parts, pass::PassError};
use crate::{
    core::{
        desired::entry_id,
        ids::{IfName, PortId},
        observed::{Clsact, Observed, ObservedProgram, ObservedTap, Tap},
        owned,
        plan::Program,
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
pub(super) async fn observe(
    parts: &Parts,
    spec: &PortSpec,
    inside: Option<&Inside>,
) -> Result<Observed, PassError> {
    let id = spec.id();
    let entries = parts.datapath.maps().entries()?;
    let slot = parts.slots.claim(&id, &entries);
    let entry = entries.into_iter().find(|(_, entry)| entry_id(entry).as_ref() == Some(&id));
    let serving = slot.and_then(|slot| parts.dhcp.serving(slot, &id));
    let mut observed = Observed {
        entry,
        free_slot: slot,
        serving: serving.as_ref().map(|s| s.guest.clone()),
        ..Observed::default()
    };

    let Some(inside) = inside else {
        observed.from_vm = program(parts, None, &id, Program::FromVm, None).await?;
        observed.to_vm = program(parts, None, &id, Program::ToVm, None).await?;
        return Ok(observed);
    };
    let tap = inside.netlink.link(&spec.tap.name).await?;
    let pod_link = inside.netlink.link(&spec.pod_link).await?;
    observed.tap = tap.as_ref().map_or(ObservedTap::Absent, |link| classify(&id, link));
    // Whoever has the tap's name, our programs can only be on a tap of ours.
    let own_tap = tap.as_ref().filter(|_| matches!(observed.tap, ObservedTap::Ours(_)));
    let on_tap = own_tap.map(|link| (&spec.tap.name, link));
    let on_pod_link = pod_link.as_ref().map(|link| (&spec.pod_link, link));
    observed.from_vm = program(parts, Some(inside), &id, Program::FromVm, on_tap).await?;
    observed.to_vm = program(parts, Some(inside), &id, Program::ToVm, on_pod_link).await?;
    if let Some(link) = &pod_link {
        observed.clsact = clsact(&inside.netlink, link.ifindex).await?;
    }
    // An answer through a tap that was made anew since needs its new index.
    if serving.is_some_and(|s| own_tap.is_some_and(|link| link.ifindex != s.tap_ifindex)) {
        observed.serving = None;
    }
    Ok(observed)
}

fn classify(id: &PortId, link: &LinkState) -> ObservedTap {
    match &link.tun {
        Some(tun) if tun.tap && owned::is_tap_of(id, link.alias.as_deref()) => ObservedTap::Ours(Tap {
            ifindex: link.ifindex,
            mtu: link.mtu,
            multi_queue: tun.multi_queue,
            vnet_hdr: tun.vnet_hdr,
            uid: tun.uid,
            gid: tun.gid,
            noqueue: link.qdisc == "noqueue",
            up: link.up,
        }),
        _ => {
            let kind = if link.kind.is_empty() { "device" } else { &link.kind };
            ObservedTap::Foreign(format!("a {kind} with index {}", link.ifindex))
        }
    }
}

async fn program(
    parts: &Parts,
    inside: Option<&Inside>,
    id: &PortId,
    program: Program,
    link: Option<(&IfName, &LinkState)>,
) -> Result<ObservedProgram, PassError> {
    let current = parts.datapath.tag(program);
    let netns = inside.map(|i| &i.netns);
    let name = link.map(|(name, _)| name);
    match parts.datapath.link_pin(netns, id, program, name).await? {
        LinkPin::Attached(tag) => {
            return Ok(ObservedProgram::Attached { hook: Hook::Tcx, current: tag == current });
        }
        LinkPin::Severed => return Ok(ObservedProgram::Severed),
        LinkPin::Absent => {}
    }
    let (Some(inside), Some((_, link))) = (inside, link) else { return Ok(ObservedProgram::Absent) };
    let filters = inside.netlink.ingress_filters(link.ifindex).await?;
    let ours = filters.iter().find(|f| is_ours(program, f));
    Ok(ours.map_or(ObservedProgram::Absent, |filter| ObservedProgram::Attached {
        hook: Hook::Clsact,
        current: u64::from_be_bytes(filter.tag) == current,
    }))
}

pub(super) fn is_ours(program: Program, filter: &BpfFilter) -> bool {
    filter.kind == "bpf" && owned::is_filter_of(program, filter.priority, filter.handle, &filter.name)
}

async fn clsact(netlink: &Netlink, ifindex: u32) -> Result<Clsact, PassError> {
    Ok(match netlink.ingress_qdisc(ifindex).await? {
        IngressQdisc::Absent => Clsact::Absent,
        IngressQdisc::Ingress => Clsact::Shared,
        IngressQdisc::Clsact => {
            let ingress = netlink.ingress_filters(ifindex).await?;
            let foreign = ingress.iter().any(|f| !is_ours(Program::ToVm, f));
            if foreign || netlink.has_egress_filters(ifindex).await? { Clsact::Shared } else { Clsact::Ours }
        }
    })
}
