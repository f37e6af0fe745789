// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs. A shell around `netagent_common::policy`: packet access, maps, redirect; no decisions.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    missing_docs,
    unreachable_pub,
    reason = "the macro exports each entry point by a symbol of its own"
)]
#![expect(unsafe_code, reason = "kernel helpers, map pointers and packet memory are unsafe by nature")]

mod act;
mod frame;
mod maps;
mod word;
mod xdp;

use aya_ebpf::{macros::classifier, programs::TcContext};
use netagent_common::{
    counters::{DropReason, PortCounters},
    maps::{ACTIVE, FROM_VM_RULES, Port, TO_VM_RULES},
    policy::{self, Meta, Verdict},
};

// Of both directions a port's own program settles what nearly all frames are, and hands the others on: so what is loaded for
// each port is small, and the verifier goes through the rules once for a node.

/// On the tap's ingress: what the guest sends.
#[classifier]
pub fn from_vm(ctx: TcContext) -> i32 {
    mark_next();
    let slot = maps::slot();
    // Without its counters or its settings a program has no port: it lets nothing through.
    let (Some(counters), Some(port)) = (maps::counters(slot), maps::port(slot)) else { return act::SHOT };
    let meta = frame::meta(&ctx);
    if port.flags & ACTIVE != 0 && policy::is_plain_from_vm(&frame::Frame::of(&ctx), meta, port) {
        counters.from_vm.add(meta.len.into());
        return act::to_node(&ctx, port);
    }
    maps::hand_on(&ctx, slot, FROM_VM_RULES);
    // Nobody is there who knows the rules.
    refuse(counters, DropReason::Unconfigured, meta)
}

/// Behind `from_vm` of every port: all the rules for what a guest sends.
#[classifier]
pub fn from_vm_rules(ctx: TcContext) -> i32 {
    let slot = maps::handed_slot(&ctx);
    run(ctx, slot, Direction::FromVm)
}

/// On the pod link's ingress: what is sent to the guest.
#[classifier]
pub fn to_vm(ctx: TcContext) -> i32 {
    mark_next();
    let slot = maps::slot();
    // As in `from_vm`.
    let (Some(counters), Some(port)) = (maps::counters(slot), maps::port(slot)) else { return act::SHOT };
    let meta = frame::meta(&ctx);
    if port.flags & ACTIVE != 0 && policy::is_plain_to_vm(&frame::Frame::of(&ctx), meta, port) {
        counters.to_vm.add(meta.len.into());
        return act::to_tap(port);
    }
    maps::hand_on(&ctx, slot, TO_VM_RULES);
    refuse(counters, DropReason::Unconfigured, meta)
}

/// Behind `to_vm` of every port: all the rules for what is sent to a guest.
#[classifier]
pub fn to_vm_rules(ctx: TcContext) -> i32 {
    let slot = maps::handed_slot(&ctx);
    run(ctx, slot, Direction::ToVm)
}

/// On the pod link's egress: what leaves the pod.
#[classifier]
pub fn from_pod(ctx: TcContext) -> i32 {
    mark_next();
    let slot = maps::slot();
    let (Some(counters), Some(port)) = (maps::counters(slot), maps::port(slot)) else { return act::SHOT };
    let verdict = if port.flags & ACTIVE == 0 {
        Verdict::Drop(DropReason::Unconfigured)
    } else {
        // SAFETY: the verifier turns this field read of the context into a read of the kernel's skb.
        policy::from_pod(unsafe { (*ctx.skb.skb).ingress_ifindex }, port)
    };
    match verdict {
        Verdict::Forward => act::NEXT,
        Verdict::Drop(reason) => refuse(counters, reason, frame::meta(&ctx)),
        // Nothing that leaves by the pod link is for the agent, or judged by its addresses.
        Verdict::Claim(_) | Verdict::Forget(_) | Verdict::Punt(_) | Verdict::Bridge | Verdict::TooBig => {
            act::SHOT
        }
    }
}

/// For tests of upgrades: one instruction more gives a program another tag, and the same verdicts.
#[inline(always)]
fn mark_next() {
    if cfg!(feature = "next-programs") {
        core::hint::black_box(0u32);
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Direction {
    FromVm,
    ToVm,
}

#[inline(always)]
fn run(ctx: TcContext, slot: u32, direction: Direction) -> i32 {
    mark_next();
    // As in `from_vm`.
    let (Some(counters), Some(port)) = (maps::counters(slot), maps::port(slot)) else { return act::SHOT };
    let meta = frame::meta(&ctx);
    let verdict = judge(&ctx, slot, direction, meta, port);
    let verdict = match verdict {
        Verdict::Claim(address) => act::claim(slot, address),
        Verdict::Forget(address) => act::forget(slot, address),
        other => other,
    };
    match (verdict, direction) {
        (Verdict::Forward, Direction::FromVm) => {
            counters.from_vm.add(meta.len.into());
            act::to_node(&ctx, port)
        }
        (Verdict::Forward, Direction::ToVm) => {
            counters.to_vm.add(meta.len.into());
            act::to_tap(port)
        }
        (Verdict::Punt(kind), _) => match act::punt(&ctx, slot, kind, meta) {
            Ok(()) => {
                counters.punted.add(meta.len.into());
                act::SHOT
            }
            Err(reason) => refuse(counters, reason, meta),
        },
        (Verdict::Bridge, _) => {
            counters.punted.add(meta.len.into());
            act::NEXT
        }
        (Verdict::TooBig, _) => {
            act::tell_too_big(&ctx, slot, meta);
            refuse(counters, DropReason::Oversized, meta)
        }
        (Verdict::Drop(reason), _) => refuse(counters, reason, meta),
        // Became one of the others above.
        (Verdict::Claim(_) | Verdict::Forget(_), _) => act::SHOT,
    }
}

#[inline(always)]
fn judge(ctx: &TcContext, slot: u32, direction: Direction, meta: Meta, port: &Port) -> Verdict {
    if port.flags & ACTIVE == 0 {
        return Verdict::Drop(DropReason::Unconfigured);
    }
    let mut frame = frame::Frame::of(ctx);
    match direction {
        Direction::FromVm => policy::from_vm(&mut frame, meta, port, || maps::learned_address(slot)),
        Direction::ToVm => policy::to_vm(&mut frame, meta, port, || maps::learned_address(slot)),
    }
}

#[inline(always)]
fn refuse(counters: &mut PortCounters, reason: DropReason, meta: Meta) -> i32 {
    counters.dropped(reason).add(meta.len.into());
    act::SHOT
}

/// The kernel lets only GPL-compatible programs call the helpers used here.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that this is never reached: it refuses a program with a loop that does not end.
    loop {}
}
