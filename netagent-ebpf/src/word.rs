// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packet memory word by word.
//!
//! Packets have no alignment, so the compiler would take an unaligned word for bytes: four loads, shifts and ors where
//! one load does. The kernels of x86-64 and arm64 take unaligned words of packet memory (`check_pkt_ptr_alignment`,
//! kernel/bpf/verifier.c), so each access is spelled as the one instruction that it is. On an architecture that does
//! not, the verifier refuses the programs.

use core::arch::asm;

use netagent_common::packet::Header;

/// The pointer `offset` bytes on, in a register that the optimizer takes for a new one. The verifier knows the checked
/// range of a pointer by the register it was made from, so the check and the access must use one and the same.
#[inline(always)]
pub(crate) fn advance(mut pointer: usize, offset: usize) -> usize {
    // SAFETY: arithmetic on registers. Not an empty statement: that would have the line of the next instruction as well,
    // and the kernel refuses two lines for one.
    unsafe {
        asm!(
            "{0} += {1}",
            inout(reg) pointer,
            in(reg) offset,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    pointer
}

/// The value, of which the verifier knows no more than that it is at most `MASK`, which must be all ones and not less
/// than the value: adding and taking away `unknown` leaves the value and none of its history.
#[inline(always)]
pub(crate) fn forget<const MASK: usize>(mut value: usize, unknown: u64) -> usize {
    // SAFETY: arithmetic on registers.
    unsafe {
        asm!(
            "{value} += {unknown}",
            "{value} -= {unknown}",
            "{value} &= {mask}",
            value = inout(reg) value,
            unknown = in(reg) unknown,
            mask = const MASK,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    value
}

/// `N` bytes of packet memory that were compared with its end.
#[derive(Clone, Copy)]
pub(crate) struct Checked<const N: usize>(usize);

impl<const N: usize> Checked<N> {
    /// `start` must have been checked; the verifier refuses the program else.
    #[inline(always)]
    pub(crate) fn new(start: usize) -> Self {
        Self(start)
    }
}

macro_rules! load {
    ($size:literal, $start:expr, $at:expr) => {{
        let word: u64;
        // SAFETY: `Checked` says that the bytes are there, and the verifier checks it again.
        unsafe {
            asm!(
                concat!("{word} = *(", $size, " *)({start} + {at})"),
                word = lateout(reg) word,
                start = in(reg) $start,
                at = const $at,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        word
    }};
}

impl<const N: usize> Header<N> for Checked<N> {
    #[inline(always)]
    fn u8<const AT: usize>(self) -> u8 {
        const { assert!(AT < N) };
        load!("u8", self.0, AT) as u8
    }

    #[inline(always)]
    fn u16<const AT: usize>(self) -> u16 {
        const { assert!(AT + 2 <= N) };
        load!("u16", self.0, AT) as u16
    }

    #[inline(always)]
    fn u32<const AT: usize>(self) -> u32 {
        const { assert!(AT + 4 <= N) };
        load!("u32", self.0, AT) as u32
    }

    #[inline(always)]
    fn u64<const AT: usize>(self) -> u64 {
        const { assert!(AT + 8 <= N) };
        load!("u64", self.0, AT)
    }
}

/// Writes a word at a pointer that was checked. The kernel unshares the skb of a program that writes
/// (`tc_cls_act_prologue`, net/core/filter.c).
#[inline(always)]
pub(crate) fn store_u16(pointer: usize, value: u16) {
    // SAFETY: the caller checked the bytes, and the verifier checks it again.
    unsafe {
        asm!("*(u16 *)({0} + 0) = {1}", in(reg) pointer, in(reg) u64::from(value), options(nostack, preserves_flags));
    }
}

/// As [`store_u16`].
#[inline(always)]
pub(crate) fn store_u32(pointer: usize, value: u32) {
    // SAFETY: as in `store_u16`.
    unsafe {
        asm!("*(u32 *)({0} + 0) = {1}", in(reg) pointer, in(reg) u64::from(value), options(nostack, preserves_flags));
    }
}
