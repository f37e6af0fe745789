// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packet memory as `netagent_common::packet`: of an skb, and of a frame that is none yet.

use aya_ebpf::{
    bindings::__sk_buff,
    programs::{TcContext, XdpContext},
};
use netagent_common::{
    address::Mac,
    packet::{FAR, Packet, PacketMut},
    policy::Meta,
    wire::eth::Tag,
};

use crate::word;

/// Bound of any offset, as the verifier wants it: a mask. Larger than every offset that policy forms from a frame
/// whose headers end within [`FAR`].
const OFFSET_MASK: usize = 0x1ff;

/// What lends its packet memory.
pub(crate) trait Lender {
    /// Start and end of the memory that can be read now.
    fn bounds(&self) -> (usize, usize);

    /// Length of the whole frame in bytes, of which the verifier knows nothing.
    fn len(&self) -> u32;

    /// Makes the first `bytes` readable, where that can be done.
    fn pull(&self, bytes: u32);
}

impl Lender for TcContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        TcContext::len(self)
    }

    #[inline(always)]
    fn pull(&self, bytes: u32) {
        // A frame that cannot be pulled is judged as far as it reads: it is refused as malformed.
        let _ = self.pull_data(bytes);
    }
}

impl Lender for XdpContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        (self.data(), self.data_end())
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        (self.data_end() - self.data()) as u32
    }

    /// Programs that take no fragments get whole frames.
    #[inline(always)]
    fn pull(&self, _bytes: u32) {}
}

/// The readable part of a frame.
pub(crate) struct Frame<'a, L> {
    lender: &'a L,
    start: usize,
    end: usize,
}

impl<'a, L: Lender> Frame<'a, L> {
    /// Borrows the frame's memory. Any helper that changes packet memory invalidates it.
    #[inline(always)]
    pub(crate) fn of(lender: &'a L) -> Self {
        let (start, end) = lender.bounds();
        Self { lender, start, end }
    }

    /// The pointer to `length` bytes at `at`.
    #[inline(always)]
    fn at(&self, at: usize, length: usize) -> Option<usize> {
        if at > OFFSET_MASK {
            return None;
        }
        let start = word::advance(self.start, at & OFFSET_MASK);
        (start + length <= self.end).then_some(start)
    }
}

impl<L: Lender> Packet for Frame<'_, L> {
    type Header<const N: usize> = word::Checked<N>;

    #[inline(always)]
    fn header<const N: usize>(&self, at: usize) -> Option<word::Checked<N>> {
        const { assert!(N >= 2) };
        Some(word::Checked::new(self.at(at, N)?))
    }

    #[inline(always)]
    fn settle(&self, at: usize) -> Option<usize> {
        if at > FAR {
            return None;
        }
        Some(word::forget::<OFFSET_MASK>(at, self.lender.len().into()))
    }
}

impl<L: Lender> PacketMut for Frame<'_, L> {
    /// A guest decides how much of its frame is linear (`hdr_len` of the virtio header): its word is not taken, but most
    /// often it is enough. Pulling costs more than the whole judgement, so it is done only for bytes that are needed.
    #[inline(always)]
    fn reach(&mut self, bytes: usize) {
        let linear = self.end - self.start;
        let len = self.lender.len();
        if linear < bytes && linear < len as usize {
            self.lender.pull(len.min(FAR as u32));
            *self = Self::of(self.lender);
        }
    }

    #[inline(always)]
    fn put_u16(&mut self, at: usize, value: u16) -> Option<()> {
        word::store_u16(self.at(at, 2)?, value);
        Some(())
    }

    #[inline(always)]
    fn put_mac(&mut self, at: usize, mac: Mac) -> Option<()> {
        let [a, b, c, d, e, f] = mac.octets();
        let at = self.at(at, 6)?;
        word::store_u32(at, u32::from_ne_bytes([a, b, c, d]));
        word::store_u16(at + 4, u16::from_ne_bytes([e, f]));
        Some(())
    }
}

/// What the bytes do not tell.
#[inline(always)]
pub(crate) fn meta(ctx: &TcContext) -> Meta {
    let skb = ctx.skb.skb;
    // SAFETY: the verifier turns these field reads of the context into reads of the kernel's skb.
    let gso_size = unsafe { (*skb).gso_size };
    Meta { len: ctx.len(), tag: tag(skb), gso_size }
}

#[inline(always)]
fn tag(skb: *const __sk_buff) -> Tag {
    // SAFETY: as in `meta`.
    if unsafe { (*skb).vlan_present } == 0 {
        return Tag::default();
    }
    // SAFETY: as in `meta`.
    let protocol = unsafe { (*skb).vlan_proto };
    // SAFETY: as in `meta`.
    let tci = unsafe { (*skb).vlan_tci };
    Tag { protocol: u16::from_be(protocol as u16), tci: tci as u16 }
}
