// SPDX-License-Identifier: MIT OR Apache-2.0
//! The actions: out to the node, into the tap, up to the agent.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::{
        bpf_ktime_get_ns, bpf_redirect, bpf_redirect_peer, bpf_skb_change_type, generated::bpf_skb_load_bytes,
    },
    programs::TcContext,
};
use core::ffi::c_void;
use netagent_common::{
    address::V6,
    counters::DropReason,
    maps::{PEER, PEER_SCRUBS, PUNT_FRAME, Port, PuntKind, Punted, TAGGED, TOO_BIG_FRAME},
    policy::{Meta, Verdict},
    wire::eth,
};

use crate::maps;

pub(crate) const SHOT: i32 = TC_ACT_SHOT;
/// On to the next program of the hook: somebody else's may have a say too.
pub(crate) const NEXT: i32 = TC_ACT_UNSPEC;

/// `PACKET_HOST` and `PACKET_OTHERHOST` of include/uapi/linux/if_packet.h.
const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

/// Sends the frame towards the node: into the host peer's ingress, or through the pod link's transmit path.
#[inline(always)]
pub(crate) fn to_node(ctx: &TcContext, port: &Port) -> i32 {
    let skb = ctx.skb.skb;
    // Volatile, because the verifier takes context fields one by one and LLVM would write both at once.
    // A mark means something to the CNI on the node; the guest and the pod have none to give.
    // SAFETY: the verifier turns field accesses of the context into accesses of the kernel's skb.
    unsafe { (&raw mut (*skb).mark).write_volatile(0) };
    // The tap's queue would else choose the queue of the node's NIC.
    // SAFETY: as above.
    unsafe { (&raw mut (*skb).queue_mapping).write_volatile(0) };
    if port.flags & PEER == 0 {
        // SAFETY: the helper takes any number and answers with a verdict.
        return unsafe { bpf_redirect(port.pod_ifindex, 0) } as i32;
    }
    // The tap judged the type by its own MAC. Kernels whose redirect_peer does not scrub the skb keep that, and the
    // node's IP stack drops PACKET_OTHERHOST; newer ones set PACKET_HOST themselves (skb_scrub_packet).
    // SAFETY: as above.
    if port.flags & PEER_SCRUBS == 0 && unsafe { (*skb).pkt_type } == PACKET_OTHERHOST {
        // SAFETY: the skb is the one this program was called with. It fails only for types that are none of these.
        unsafe { bpf_skb_change_type(skb, PACKET_HOST) };
    }
    // SAFETY: as for bpf_redirect.
    unsafe { bpf_redirect_peer(port.pod_ifindex, 0) as i32 }
}

/// Queues the frame on the tap.
#[inline(always)]
pub(crate) fn to_tap(port: &Port) -> i32 {
    // SAFETY: the helper takes any number and answers with a verdict.
    unsafe { bpf_redirect(port.tap_ifindex, 0) as i32 }
}

/// Learns the address for the guest, if the port may.
#[inline(always)]
pub(crate) fn claim(slot: u32, address: V6) -> Verdict {
    let Some(learned) = maps::learned(slot) else { return Verdict::Drop(DropReason::NdTarget) };
    // SAFETY: the helper has no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if learned.claim(address, now) { Verdict::Forward } else { Verdict::Drop(DropReason::NdTarget) }
}

/// Gives the address up, which somebody else has.
#[inline(always)]
pub(crate) fn forget(slot: u32, address: V6) -> Verdict {
    if let Some(learned) = maps::learned(slot) {
        learned.forget(address);
    }
    Verdict::Forward
}

/// Copies the frame into the punt ring, if the port still has a token.
#[inline(always)]
pub(crate) fn punt(ctx: &TcContext, slot: u32, kind: PuntKind, meta: Meta) -> Result<(), DropReason> {
    if meta.len as usize > PUNT_FRAME {
        return Err(DropReason::Oversized);
    }
    copy(ctx, slot, kind, meta, meta.len)
}

/// Copies the beginning of a frame that is longer than the MTU into the punt ring. The frame is refused anyway, so
/// where there is no token or no room, the guest is told by a later one.
#[inline(always)]
pub(crate) fn tell_too_big(ctx: &TcContext, slot: u32, meta: Meta) {
    let _ = copy(ctx, slot, PuntKind::TooBig, meta, meta.len.min(TOO_BIG_FRAME));
}

#[inline(always)]
fn copy(ctx: &TcContext, slot: u32, kind: PuntKind, meta: Meta, len: u32) -> Result<(), DropReason> {
    let bucket = maps::bucket(slot).ok_or(DropReason::PuntFull)?;
    // SAFETY: the helper has no arguments.
    if !bucket.take(unsafe { bpf_ktime_get_ns() }) {
        return Err(DropReason::PuntRate);
    }
    let mut record = maps::PUNT.reserve::<Punted>(0).ok_or(DropReason::PuntFull)?;
    let punted = record.as_mut_ptr();
    // SAFETY: the reservation is as large as `Punted`.
    let frame = unsafe { &raw mut (*punted).frame };
    // The verifier wants bounds on the very register that it passes on; the optimizer, knowing `len`, would drop the
    // mask or check a copy. PUNT_FRAME is all ones, so the mask changes nothing. Right before the call, because verifiers
    // before 6.12 do not see that a check of a register holds for what was put aside of it on the stack.
    let bounded = core::hint::black_box(len) & PUNT_FRAME as u32;
    if bounded < eth::HEADER as u32 {
        record.discard(0);
        return Err(DropReason::Malformed);
    }
    // SAFETY: `bounded` is at most PUNT_FRAME, which is less than the array.
    let copied = unsafe { bpf_skb_load_bytes(ctx.skb.skb as *const c_void, 0, frame.cast(), bounded) };
    if copied != 0 {
        record.discard(0);
        return Err(DropReason::Malformed);
    }
    let tag = if meta.tag.is_none() { 0 } else { u32::from(meta.tag.tci) | TAGGED };
    let fields = [slot, kind as u32, len, meta.len, tag];
    // SAFETY: as above; these are the numbers that `Punted` begins with, in their order.
    unsafe { punted.cast::<[u32; 5]>().write(fields) };
    record.submit(0);
    Ok(())
}
