// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame, as seen by code that runs in the kernel and on the host.

/// A frame that starts with its Ethernet header, read by value.
pub trait Packet {
    /// The `N` bytes at offset `at`, or `None` when the frame ends before them.
    ///
    /// `N` is at least 2: the bound of a single byte compiles to `start < end`, from which kernels learn nothing about
    /// the packet (`find_good_pkt_pointers`, kernel/bpf/verifier.c).
    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

/// A frame whose bytes can be replaced in place.
pub trait PacketMut: Packet {
    /// Writes `bytes` at offset `at`; `None` when the frame ends before their end. Nothing is written then.
    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()>;
}

impl Packet for [u8] {
    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        const { assert!(N >= 2) };
        self.get(at..)?.first_chunk().copied()
    }
}

impl PacketMut for [u8] {
    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        *self.get_mut(at..)?.first_chunk_mut()? = bytes;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_stores_end_at_the_frame() {
        let mut frame = [1u8, 2, 3, 4];
        let frame = frame.as_mut_slice();
        assert_eq!(frame.load::<2>(2), Some([3, 4]));
        assert_eq!(frame.load::<2>(3), None);
        assert_eq!(frame.load::<2>(usize::MAX), None);
        assert_eq!(frame.store(3, [9, 9]), None);
        assert_eq!(frame, [1, 2, 3, 4]);
        assert_eq!(frame.store(2, [9, 9]), Some(()));
        assert_eq!(frame, [1, 2, 9, 9]);
    }
}
