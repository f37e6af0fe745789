// SPDX-License-Identifier: MIT OR Apache-2.0
//! ICMPv6 (RFC 4443): the types that policy knows, and its checksum.

use crate::address::Mac;

/// Multicast listener report (RFC 2710).
pub const MLD_REPORT: u8 = 131;
/// Router solicitation (RFC 4861, section 4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement (RFC 4861, section 4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbour solicitation (RFC 4861, section 4.3).
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Neighbour advertisement (RFC 4861, section 4.4).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Redirect (RFC 4861, section 4.5).
pub const REDIRECT: u8 = 137;
/// Multicast listener report of version 2 (RFC 3810).
pub const MLDV2_REPORT: u8 = 143;
/// Types below this report errors (RFC 4443, section 2.1).
pub const FIRST_INFORMATIONAL: u8 = 128;
/// Offset of the checksum in the message.
pub const CHECKSUM: usize = 2;

/// The checksum after a MAC at an even offset became another one (RFC 1624, equation 3). Checksums and words are as
/// they lie in memory: the sum does not depend on the order of bytes.
#[inline(always)]
pub const fn replace_mac(checksum: u16, from: Mac, to: Mac) -> u16 {
    let ([a, b, c], [d, e, f]) = (from.words(), to.words());
    let sum = (!checksum) as u32 + (!a) as u32 + (!b) as u32 + (!c) as u32 + d as u32 + e as u32 + f as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(message: &[u8]) -> u16 {
        let words = message.chunks(2).map(|w| u32::from(u16::from_ne_bytes([w[0], w[1]])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn the_changed_message_sums_up_as_before(
            mut message in any::<[u8; 32]>(), from in any::<[u8; 6]>(), to in any::<[u8; 6]>(),
        ) {
            message[2..4].fill(0);
            message[26..32].copy_from_slice(&from);
            let checksum = !sum(&message);
            message[26..32].copy_from_slice(&to);
            let replaced = replace_mac(checksum, Mac::new(from), Mac::new(to));
            message[2..4].copy_from_slice(&replaced.to_ne_bytes());
            prop_assert_eq!(sum(&message), 0xffff);
        }
    }
}
