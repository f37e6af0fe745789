// SPDX-License-Identifier: MIT OR Apache-2.0
//! The maps, shared by all ports through their pins, and a port's slot in them.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, PerCpuArray, ProgramArray, RingBuf},
    programs::TcContext,
};
use netagent_common::{
    address::V6,
    counters::PortCounters,
    maps::{Bucket, Learned, MAX_PORTS, Port, SHARED_PROGRAMS},
};

/// The only thing in which two ports' programs differ; frozen at load, so the verifier sees a constant. A program that is
/// shared does not read it.
#[unsafe(no_mangle)]
static SLOT: Global<u32> = Global::new(0);

#[map]
static PORTS: Array<Port> = Array::with_max_entries(MAX_PORTS, 0);

#[map]
static COUNTERS: PerCpuArray<PortCounters> = PerCpuArray::with_max_entries(MAX_PORTS, 0);

#[map]
static BUCKETS: Array<Bucket> = Array::with_max_entries(MAX_PORTS, 0);

#[map]
static LEARNED: Array<Learned> = Array::with_max_entries(MAX_PORTS, 0);

/// 2,015 records: all ports of a full node may boot within the milliseconds in which the agent has no CPU. What each may
/// add over time its token bucket bounds.
#[map]
pub(crate) static PUNT: RingBuf = RingBuf::with_byte_size(4096 * 1024, 0);

/// The programs that all ports share.
#[map]
static RULES: ProgramArray = ProgramArray::with_max_entries(SHARED_PROGRAMS, 0);

/// The slot that the program was loaded for.
#[inline(always)]
pub(crate) fn slot() -> u32 {
    SLOT.load()
}

/// Goes on in the program at `rules`, which knows all of them, and comes back only where there is none.
#[inline(always)]
pub(crate) fn hand_on(ctx: &TcContext, slot: u32, rules: u32) {
    // SAFETY: the verifier turns accesses of the context's scratch words into accesses of the skb's control block, which
    // is this hook's while the skb is here. Volatile: the call takes it along, of which the compiler knows nothing.
    unsafe { (&raw mut (*ctx.skb.skb).cb[0]).write_volatile(slot) };
    // SAFETY: nothing is left to drop.
    unsafe { RULES.tail_call(ctx, rules) };
}

/// The slot of the program that called [`hand_on`].
#[inline(always)]
pub(crate) fn handed_slot(ctx: &TcContext) -> u32 {
    // SAFETY: as in `hand_on`.
    unsafe { (&raw const (*ctx.skb.skb).cb[0]).read_volatile() }
}

#[inline(always)]
pub(crate) fn port(slot: u32) -> Option<&'static Port> {
    PORTS.get(slot)
}

#[inline(always)]
pub(crate) fn counters(slot: u32) -> Option<&'static mut PortCounters> {
    let counters = COUNTERS.get_ptr_mut(slot)?;
    // SAFETY: the entry is this CPU's own and programs on one CPU do not preempt each other on the tc path.
    Some(unsafe { &mut *counters })
}

#[inline(always)]
pub(crate) fn bucket(slot: u32) -> Option<&'static mut Bucket> {
    let bucket = BUCKETS.get_ptr_mut(slot)?;
    // SAFETY: map memory outlives the program; a racing CPU at worst takes the same token (see `Bucket`).
    Some(unsafe { &mut *bucket })
}

#[inline(always)]
pub(crate) fn learned(slot: u32) -> Option<&'static mut Learned> {
    let learned = LEARNED.get_ptr_mut(slot)?;
    // SAFETY: map memory outlives the program; the address is one word, and racing CPUs leave one of theirs.
    Some(unsafe { &mut *learned })
}

#[inline(always)]
pub(crate) fn learned_address(slot: u32) -> V6 {
    learned(slot).map_or(V6::UNSPECIFIED, |learned| learned.address())
}
