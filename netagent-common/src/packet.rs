// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame, as seen by code that runs in the kernel and on the host.

use crate::address::{Mac, V4, V6};

/// A frame that starts with its Ethernet header.
pub trait Packet {
    /// `N` bytes of the frame whose presence has been checked.
    type Header<const N: usize>: Header<N>;

    /// The `N` bytes at offset `at`, or `None` when the frame ends before their end: one check, however many fields are
    /// read then.
    ///
    /// `N` is at least 2: the bound of a single byte compiles to `start < end`, from which kernels learn nothing about
    /// the packet (`find_good_pkt_pointers`, kernel/bpf/verifier.c).
    fn header<const N: usize>(&self, at: usize) -> Option<Self::Header<N>>;

    /// The same offset, if it is no more than [`FAR`]; `None` for one that is beyond.
    ///
    /// The verifier follows every path through a program and takes two for the same only if it knows the same of them. An
    /// offset that comes out of a loop has another range after each turn, so that each turn would double what follows. The
    /// programs make it forget the range here.
    fn settle(&self, at: usize) -> Option<usize>;

    /// The same flag, after which the verifier knows it no more, as [`settle`](Self::settle).
    #[inline(always)]
    fn blur(&self, flag: bool) -> bool {
        self.settle(flag as usize).is_some_and(|flag| flag != 0)
    }
}

/// Bytes that hold the headers of nearly every frame: Ethernet with IPv6, or with IPv4 and TCP. Drivers and the stack
/// put at least these where a program can read them, also for a frame whose payload they keep in pages.
pub const NEAR: usize = 54;
/// Bytes that policy looks at in the rarest of frames: chains of extension headers, lists of options.
pub const FAR: usize = 256;

/// A frame whose bytes can be replaced in place.
pub trait PacketMut: Packet {
    /// Makes the first `bytes` of the frame readable, as many as it has, where the kernel keeps part of it elsewhere.
    /// Headers that were borrowed before are gone; what was read from them stays true.
    fn reach(&mut self, bytes: usize);

    /// Writes a word, given as it is to lie in memory, at offset `at`; `None` when the frame ends before its end.
    fn put_u16(&mut self, at: usize, word: u16) -> Option<()>;

    /// Writes a MAC at offset `at`; `None` when the frame ends before its end. Nothing is written then.
    fn put_mac(&mut self, at: usize, mac: Mac) -> Option<()>;
}

/// Bytes that are there, read as words of the machine. `AT` is checked when the program is compiled.
pub trait Header<const N: usize>: Copy {
    /// The byte at `AT`.
    fn u8<const AT: usize>(self) -> u8;
    /// The 2 bytes at `AT`, as they lie in memory.
    fn u16<const AT: usize>(self) -> u16;
    /// The 4 bytes at `AT`, as they lie in memory.
    fn u32<const AT: usize>(self) -> u32;
    /// The 8 bytes at `AT`, as they lie in memory.
    fn u64<const AT: usize>(self) -> u64;

    /// The number at `AT`, which is big-endian on the wire.
    #[inline(always)]
    fn be16<const AT: usize>(self) -> u16 {
        u16::from_be(self.u16::<AT>())
    }

    /// The IPv4 address at `AT`.
    #[inline(always)]
    fn v4<const AT: usize>(self) -> V4 {
        V4(self.u32::<AT>())
    }

    /// The IPv6 address whose halves are at `HIGH` and `LOW`, which is 8 more.
    #[inline(always)]
    fn v6<const HIGH: usize, const LOW: usize>(self) -> V6 {
        const { assert!(HIGH + 8 == LOW) };
        V6 { network: self.u64::<HIGH>(), interface: self.u64::<LOW>() }
    }
}

impl Packet for [u8] {
    type Header<const N: usize> = [u8; N];

    fn header<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        const { assert!(N >= 2) };
        self.get(at..)?.first_chunk().copied()
    }

    fn settle(&self, at: usize) -> Option<usize> {
        (at <= FAR).then_some(at)
    }
}

impl PacketMut for [u8] {
    fn reach(&mut self, _bytes: usize) {}

    fn put_u16(&mut self, at: usize, word: u16) -> Option<()> {
        *self.get_mut(at..)?.first_chunk_mut()? = word.to_ne_bytes();
        Some(())
    }

    fn put_mac(&mut self, at: usize, mac: Mac) -> Option<()> {
        *self.get_mut(at..)?.first_chunk_mut()? = mac.octets();
        Some(())
    }
}

impl<const N: usize> Header<N> for [u8; N] {
    fn u8<const AT: usize>(self) -> u8 {
        const { assert!(AT < N) };
        self[AT]
    }

    fn u16<const AT: usize>(self) -> u16 {
        const { assert!(AT + 2 <= N) };
        u16::from_ne_bytes([self[AT], self[AT + 1]])
    }

    fn u32<const AT: usize>(self) -> u32 {
        const { assert!(AT + 4 <= N) };
        u32::from_ne_bytes([self[AT], self[AT + 1], self[AT + 2], self[AT + 3]])
    }

    fn u64<const AT: usize>(self) -> u64 {
        const { assert!(AT + 8 <= N) };
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self[AT..AT + 8]);
        u64::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_at_the_frame() {
        let frame = [1u8, 2, 3, 4];
        assert_eq!(frame.as_slice().header::<2>(2).map(|h| h.be16::<0>()), Some(0x0304));
        assert_eq!(frame.as_slice().header::<2>(3), None);
        assert_eq!(frame.as_slice().header::<2>(usize::MAX), None);
    }

    #[test]
    fn fields_are_read_where_they_lie() {
        let frame: [u8; 20] = core::array::from_fn(|at| at as u8);
        let header = frame.as_slice().header::<18>(1).unwrap();
        assert_eq!((header.u8::<0>(), header.be16::<1>()), (1, 0x0203));
        assert_eq!(header.v4::<3>().octets(), [4, 5, 6, 7]);
        assert_eq!(header.u64::<3>().to_ne_bytes(), [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(header.v6::<2, 10>().octets(), core::array::from_fn(|at| at as u8 + 3));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut frame = [9u8; 8];
        let frame = frame.as_mut_slice();
        assert_eq!(frame.put_mac(3, Mac::new([1; 6])), None);
        assert_eq!(frame.put_u16(7, 0), None);
        assert_eq!(frame, [9; 8]);
        assert_eq!(frame.put_mac(2, Mac::new([1, 2, 3, 4, 5, 6])), Some(()));
        assert_eq!(frame.put_u16(0, u16::from_ne_bytes([7, 8])), Some(()));
        assert_eq!(frame, [7, 8, 1, 2, 3, 4, 5, 6]);
    }
}
