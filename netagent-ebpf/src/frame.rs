// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packet memory of an skb as `netagent_common::packet`.

use aya_ebpf::programs::TcContext;
use netagent_common::{
    packet::{Packet, PacketMut},
    policy::Meta,
};

/// Bytes of a frame that policy may look at. Frames are made linear this far before they are read.
const REACH: u32 = 128;
/// Bound of any offset, as the verifier wants it: a mask. Larger than every offset that policy forms from a frame
/// whose headers end within [`REACH`].
const OFFSET_MASK: usize = 0x1ff;

/// The linear part of an skb's data.
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// Borrows the frame's memory. Any helper that changes packet memory invalidates it.
    #[inline(always)]
    pub(crate) fn of(ctx: &TcContext) -> Self {
        let linear = ctx.data_end() - ctx.data();
        // A guest decides how much of its frame is linear (virtio hdr_len): do not take its word.
        if linear < REACH as usize && linear < ctx.len() as usize {
            // A frame that cannot be pulled is judged as far as it reads: it is refused as malformed.
            let _ = ctx.pull_data(REACH.min(ctx.len()));
        }
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    #[inline(always)]
    fn at<const N: usize>(&self, at: usize) -> Option<usize> {
        if at > OFFSET_MASK {
            return None;
        }
        let start = self.start + (at & OFFSET_MASK);
        (start + N <= self.end).then_some(start)
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        const { assert!(N >= 2) };
        let at = self.at::<N>(at)? as *const [u8; N];
        // SAFETY: `at` checked the N bytes against the end of packet memory, and the verifier checks it again.
        Some(unsafe { core::ptr::read_unaligned(at) })
    }
}

impl PacketMut for Frame {
    #[inline(always)]
    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        let at = self.at::<N>(at)? as *mut [u8; N];
        // SAFETY: as in `load`; the kernel unshares the skb of a program that writes (tc_cls_act_prologue,
        // net/core/filter.c).
        unsafe { core::ptr::write_unaligned(at, bytes) };
        Some(())
    }
}

/// What the bytes do not tell.
#[inline(always)]
pub(crate) fn meta(ctx: &TcContext) -> Meta {
    let skb = ctx.skb.skb;
    // SAFETY: the verifier turns these field reads of the context into reads of the kernel's skb.
    let vlan = unsafe { (*skb).vlan_present };
    // SAFETY: as above.
    let gso_size = unsafe { (*skb).gso_size };
    Meta { len: ctx.len(), vlan: vlan != 0, gso_size }
}
