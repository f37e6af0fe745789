// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses as integers that lie in memory as on the wire, so that they are loaded, compared and masked as words.

use bytemuck::{Pod, Zeroable};

/// A MAC: its 6 bytes, then two of zero.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Mac(u64);

impl Mac {
    const BYTES: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

    /// The MAC with these bytes.
    #[inline(always)]
    pub const fn new([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// The MAC that the word begins with.
    #[inline(always)]
    pub const fn first_of(word: u64) -> Self {
        Self(word & Self::BYTES)
    }

    /// The MAC that the word ends with.
    #[inline(always)]
    pub const fn last_of(word: u64) -> Self {
        // From big-endian and back: 16 bits further towards the first byte.
        Self((u64::from_be(word) << 16).to_be())
    }

    /// Its bytes.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = self.0.to_ne_bytes();
        [a, b, c, d, e, f]
    }

    /// Its three words of 16 bits, as they lie in memory.
    #[inline(always)]
    pub const fn words(self) -> [u16; 3] {
        let [a, b, c, d, e, f] = self.octets();
        [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])]
    }

    /// Whether it is that of a group: multicast or broadcast.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.octets()[0] & 1 != 0
    }

    /// The link-local address that a station with this MAC forms (RFC 4291, appendix A).
    pub const fn link_local(self) -> V6 {
        let [a, b, c, d, e, f] = self.octets();
        V6::new([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

/// An IPv4 address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct V4(pub u32);

impl V4 {
    /// 0.0.0.0.
    pub const UNSPECIFIED: Self = Self(0);
    /// 255.255.255.255.
    pub const BROADCAST: Self = Self(u32::MAX);

    /// The address with these bytes.
    #[inline(always)]
    pub const fn new(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// Its bytes.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// Whether it is in 224.0.0.0/4.
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        self.octets()[0] & 0xf0 == 0xe0
    }
}

/// An IPv6 address in two words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct V6 {
    /// The first 8 bytes.
    pub network: u64,
    /// The last 8 bytes.
    pub interface: u64,
}

impl V6 {
    /// `::`.
    pub const UNSPECIFIED: Self = Self { network: 0, interface: 0 };

    /// The first 8 bytes of fe80::/64: RFC 4291, section 2.5.6, has the bits behind the prefix zero.
    pub const LINK_LOCAL: u64 = u64::from_ne_bytes([0xfe, 0x80, 0, 0, 0, 0, 0, 0]);

    /// The address with these bytes.
    #[inline(always)]
    pub const fn new(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self {
            network: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            interface: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// Its bytes.
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.network.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.interface.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Whether it is `::`.
    #[inline(always)]
    pub const fn is_unspecified(self) -> bool {
        self.network | self.interface == 0
    }

    /// Whether it is in ff00::/8.
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        self.network.to_ne_bytes()[0] == 0xff
    }

    /// Whether it is in fe80::/64.
    #[inline(always)]
    pub const fn is_link_local(self) -> bool {
        self.network == Self::LINK_LOCAL
    }

    /// Whether both are the same; in place of `==`, whose code in the programs is longer.
    #[inline(always)]
    pub const fn is(self, other: Self) -> bool {
        (self.network ^ other.network) | (self.interface ^ other.interface) == 0
    }
}

/// An IPv4 prefix. All zero: unused; 0.0.0.0/0 is no prefix that a port could own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PrefixV4 {
    /// Its first address.
    pub address: V4,
    /// Ones where addresses have to agree.
    pub mask: V4,
}

impl PrefixV4 {
    /// The prefix of `length` bits that holds `address`; `None` for a length of 0 or over 32.
    pub const fn new(address: [u8; 4], length: u8) -> Option<Self> {
        if length == 0 || length > 32 {
            return None;
        }
        let mask = V4((u32::MAX << (32 - length)).to_be());
        Some(Self { address: V4(V4::new(address).0 & mask.0), mask })
    }

    /// Whether the prefix holds the address; an unused one holds none.
    #[inline(always)]
    pub const fn holds(&self, address: V4) -> bool {
        self.mask.0 != 0 && address.0 & self.mask.0 == self.address.0
    }
}

/// An IPv6 prefix. All zero: unused; ::/0 is no prefix that a port could own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PrefixV6 {
    /// Its first address.
    pub address: V6,
    /// Ones where addresses have to agree.
    pub mask: V6,
}

impl PrefixV6 {
    /// The prefix of `length` bits that holds `address`; `None` for a length of 0 or over 128.
    pub const fn new(address: [u8; 16], length: u8) -> Option<Self> {
        if length == 0 || length > 128 {
            return None;
        }
        let high = if length >= 64 { u64::MAX } else { u64::MAX << (64 - length) };
        let low = if length <= 64 { 0 } else { u64::MAX << (128 - length) };
        let mask = V6 { network: high.to_be(), interface: low.to_be() };
        let address = V6::new(address);
        let address =
            V6 { network: address.network & mask.network, interface: address.interface & mask.interface };
        Some(Self { address, mask })
    }

    /// Whether the prefix holds the address; an unused one holds none.
    #[inline(always)]
    pub const fn holds(&self, address: V6) -> bool {
        let differ = (address.network & self.mask.network ^ self.address.network)
            | (address.interface & self.mask.interface ^ self.address.interface);
        self.mask.network != 0 && differ == 0
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_mac_is_its_bytes_and_nothing_behind_them() {
        let mac = Mac::new([1, 2, 3, 4, 5, 6]);
        assert_eq!(Mac::first_of(u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8])), mac);
        assert_eq!(Mac::last_of(u64::from_ne_bytes([8, 7, 1, 2, 3, 4, 5, 6])), mac);
        assert_eq!(mac.octets(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(mac.words().map(u16::to_ne_bytes), [[1, 2], [3, 4], [5, 6]]);
        assert_eq!((mac.is_group(), Mac::new([2, 0, 0, 0, 0, 1]).is_group()), (true, false));
    }

    #[test]
    fn a_station_forms_its_link_local_address_from_its_mac() {
        let formed = Mac::new([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]).link_local();
        assert_eq!(Ipv6Addr::from(formed.octets()), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
        assert!(formed.is_link_local());
        let longer = "fe80:1::1".parse::<Ipv6Addr>().unwrap();
        assert!(!V6::new(longer.octets()).is_link_local());
    }

    #[test]
    fn prefixes_hold_what_they_say() {
        let v4 = |text: &str| V4::new(text.parse::<Ipv4Addr>().unwrap().octets());
        let some = PrefixV4::new([10, 1, 2, 3], 20).unwrap();
        assert!(some.holds(v4("10.1.0.0")) && some.holds(v4("10.1.15.255")));
        assert!(!some.holds(v4("10.1.16.0")) && !PrefixV4::default().holds(v4("0.0.0.0")));
        assert!(PrefixV4::new([10, 1, 2, 3], 32).unwrap().holds(v4("10.1.2.3")));
        assert_eq!((PrefixV4::new([0; 4], 0), PrefixV4::new([0; 4], 33)), (None, None));
    }

    #[test]
    fn long_prefixes_hold_what_they_say() {
        let v6 = |text: &str| V6::new(text.parse::<Ipv6Addr>().unwrap().octets());
        for (length, inside, outside) in [
            (12, "fd05::1", "fd10::1"),
            (64, "fd00::88:0:0:1", "fd00:0:0:1::1"),
            (65, "fd00::1", "fd00::8000:0:0:0"),
            (128, "fd00::5", "fd00::6"),
        ] {
            let prefix = PrefixV6::new(v6("fd00::5").octets(), length).unwrap();
            assert!(prefix.holds(v6(inside)), "{inside}/{length}");
            assert!(!prefix.holds(v6(outside)), "{outside}/{length}");
        }
        assert!(!PrefixV6::default().holds(V6::UNSPECIFIED));
        assert_eq!((PrefixV6::new([0; 16], 0), PrefixV6::new([0; 16], 129)), (None, None));
    }
}
