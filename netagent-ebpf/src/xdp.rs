// SPDX-License-Identifier: MIT OR Apache-2.0
//! The XDP programs: a short cut in front of the tc programs, under the same policy.
//!
//! They forward what is complete in its bytes and drop what is refused. What an skb knows more about (work left to a
//! device), and what is for the agent, goes on to the tc program on the same device.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::{map, xdp},
    maps::DevMap,
    programs::XdpContext,
};
use netagent_common::{
    maps::{ACTIVE, MAX_PORTS},
    policy::{self, Meta, Verdict},
    wire::eth::Tag,
};

use crate::{Direction, act, frame::Frame, maps};

/// By slot: the pod link, for what the guest sends.
#[map]
static TO_POD_LINK: DevMap = DevMap::with_max_entries(MAX_PORTS, 0);

/// By slot: the tap, for what is sent to the guest.
#[map]
static TO_TAP: DevMap = DevMap::with_max_entries(MAX_PORTS, 0);

/// On the tap: what the guest sends.
#[xdp]
pub fn xdp_from_vm(ctx: XdpContext) -> u32 {
    run(ctx, Direction::FromVm)
}

/// On the pod link: what is sent to the guest.
#[xdp]
pub fn xdp_to_vm(ctx: XdpContext) -> u32 {
    run(ctx, Direction::ToVm)
}

#[inline(always)]
fn run(ctx: XdpContext, direction: Direction) -> u32 {
    let slot = maps::slot();
    let (Some(counters), Some(port)) = (maps::counters(slot), maps::port(slot)) else { return XDP_DROP };
    if port.flags & ACTIVE == 0 {
        // The tc program drops and counts it.
        return XDP_PASS;
    }
    let mut frame = Frame::of(&ctx);
    let len = (ctx.data_end() - ctx.data()) as u32;
    if policy::needs_skb(&frame, len, port) {
        return XDP_PASS;
    }
    let devices = match direction {
        Direction::FromVm => &TO_POD_LINK,
        Direction::ToVm => &TO_TAP,
    };
    // Only remembered until this program says XDP_REDIRECT. First, because a frame that is passed on must still be as it
    // came.
    let Ok(redirect) = devices.redirect(slot, XDP_PASS.into()) else { return XDP_PASS };
    let meta = Meta { len, tag: Tag::default(), gso_size: 0 };
    let verdict = match direction {
        Direction::FromVm => policy::from_vm(&mut frame, meta, port, || maps::learned_address(slot)),
        Direction::ToVm => policy::to_vm(&mut frame, meta, port, || maps::learned_address(slot)),
    };
    let verdict = match verdict {
        Verdict::Claim(address) => act::claim(slot, address),
        Verdict::Forget(address) => act::forget(slot, address),
        other => other,
    };
    match (verdict, direction) {
        (Verdict::Forward, Direction::FromVm) => {
            counters.from_vm.add(len.into());
            redirect
        }
        (Verdict::Forward, Direction::ToVm) => {
            counters.to_vm.add(len.into());
            redirect
        }
        (Verdict::Drop(reason), _) => {
            counters.dropped(reason).add(len.into());
            XDP_DROP
        }
        // For the agent or a bridge; these frames are as they came. Claims have become one of the others above.
        (
            Verdict::Punt(_) | Verdict::Bridge | Verdict::TooBig | Verdict::Claim(_) | Verdict::Forget(_),
            _,
        ) => XDP_PASS,
    }
}
