// SPDX-License-Identifier: MIT OR Apache-2.0
//! The maps, shared by all ports through their pins, and this port's slot in them.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use netagent_common::{
    address::V6,
    counters::PortCounters,
    maps::{Bucket, Learned, MAX_PORTS, Port},
};

/// The only thing in which two ports' programs differ; frozen at load, so the verifier sees a constant.
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

#[inline(always)]
pub(crate) fn slot() -> u32 {
    SLOT.load()
}

#[inline(always)]
pub(crate) fn port() -> Option<&'static Port> {
    PORTS.get(slot())
}

#[inline(always)]
pub(crate) fn counters() -> Option<&'static mut PortCounters> {
    let counters = COUNTERS.get_ptr_mut(slot())?;
    // SAFETY: the entry is this CPU's own and programs on one CPU do not preempt each other on the tc path.
    Some(unsafe { &mut *counters })
}

#[inline(always)]
pub(crate) fn bucket() -> Option<&'static mut Bucket> {
    let bucket = BUCKETS.get_ptr_mut(slot())?;
    // SAFETY: map memory outlives the program; a racing CPU at worst takes the same token (see `Bucket`).
    Some(unsafe { &mut *bucket })
}

#[inline(always)]
pub(crate) fn learned() -> Option<&'static mut Learned> {
    let learned = LEARNED.get_ptr_mut(slot())?;
    // SAFETY: map memory outlives the program; the address is one word, and racing CPUs leave one of theirs.
    Some(unsafe { &mut *learned })
}

#[inline(always)]
pub(crate) fn learned_address() -> V6 {
    learned().map_or(V6::UNSPECIFIED, |learned| learned.address())
}
