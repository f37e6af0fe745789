// SPDX-License-Identifier: MIT OR Apache-2.0
//! The link-local address that a guest chose for itself: whoever asks first for it has it (RFC 6620).

use bytemuck::{Pod, Zeroable};

use crate::address::V6;

/// The one address in fe80::/64 that the port learned.
///
/// The address is one word, so that two CPUs never leave halves of two addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Learned {
    /// Its last 8 bytes as they lie on the wire; 0: none is learned.
    pub interface: u64,
    /// When it was last claimed, in nanoseconds of `CLOCK_MONOTONIC`; 0: never.
    pub changed_ns: u64,
}

impl Learned {
    /// Time in which the address can change once. A guest changes it when it boots another system, not every second.
    pub const INTERVAL_NS: u64 = 1_000_000_000;

    /// Learns `address` at `now_ns` in place of any other; `false` when it is none of fe80::/64 or when the last
    /// change is too recent. Claiming the learned address again is no change.
    #[inline(always)]
    pub fn claim(&mut self, address: V6, now_ns: u64) -> bool {
        if !address.is_link_local() || address.interface == 0 {
            return false;
        }
        if self.interface == address.interface {
            return true;
        }
        if self.changed_ns != 0 && now_ns.wrapping_sub(self.changed_ns) < Self::INTERVAL_NS {
            return false;
        }
        *self = Self { interface: address.interface, changed_ns: now_ns };
        true
    }

    /// Gives the address up, if it is this one: somebody else defends it.
    #[inline(always)]
    pub fn forget(&mut self, address: V6) {
        if self.interface == address.interface {
            self.interface = 0;
        }
    }

    /// The address; `::` when there is none.
    #[inline(always)]
    pub const fn address(&self) -> V6 {
        if self.interface == 0 {
            V6::UNSPECIFIED
        } else {
            V6 { network: V6::LINK_LOCAL, interface: self.interface }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 5 * Learned::INTERVAL_NS;

    fn link_local(last: u8) -> V6 {
        V6::new([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
    }

    #[test]
    fn the_first_is_learned_and_another_only_after_a_while() {
        let mut learned = Learned::zeroed();
        assert_eq!(learned.address(), V6::UNSPECIFIED);
        assert!(learned.claim(link_local(1), NOW));
        assert!(learned.claim(link_local(1), NOW), "again is no change");
        assert!(!learned.claim(link_local(2), NOW + Learned::INTERVAL_NS - 1));
        assert_eq!(learned.address(), link_local(1));
        assert!(learned.claim(link_local(2), NOW + Learned::INTERVAL_NS));
        assert_eq!(learned.address(), link_local(2));
    }

    #[test]
    fn giving_up_does_not_shorten_the_wait() {
        let mut learned = Learned::zeroed();
        assert!(learned.claim(link_local(1), NOW));
        learned.forget(link_local(2));
        assert_eq!(learned.address(), link_local(1));
        learned.forget(link_local(1));
        assert_eq!(learned.address(), V6::UNSPECIFIED);
        assert!(!learned.claim(link_local(2), NOW + 1));
        assert!(learned.claim(link_local(2), NOW + Learned::INTERVAL_NS));
    }

    #[test]
    fn only_link_local_addresses_are_learned() {
        let mut learned = Learned::zeroed();
        let global = V6 { network: 1, ..link_local(1) };
        assert!(!learned.claim(global, NOW) && !learned.claim(link_local(0), NOW));
        assert_eq!(learned, Learned::zeroed());
    }
}
