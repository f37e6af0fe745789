// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules that a port's frames are held to, by the names under which people switch them off.

use crate::counters::DropReason;

/// One rule. Its number is its bit in [`Port::guard_off`](crate::maps::Port::guard_off), so it never changes its
/// meaning; its name is that of the reason under which it counts what it refuses.
///
/// Malformed frames have no switch of their own: every other rule rests on them being refused. They pass only when
/// all rules are off.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// From the guest: the Ethernet source is the guest's MAC.
    SourceMac = 0,
    /// From the guest: the IPv4 source is the port's or in an allowed prefix.
    SourceIpv4 = 1,
    /// From the guest: the IPv6 source is the port's, the guest's link-local one or in an allowed prefix.
    SourceIpv6 = 2,
    /// From the guest: an ARP sender is the guest, and nobody else's address is probed (RFC 826, RFC 5227).
    ArpSender = 3,
    /// From the guest: what it advertises or claims by neighbour discovery is its own (RFC 4861, RFC 4862).
    NdTarget = 4,
    /// From the guest: a link-layer address in neighbour discovery is the guest's MAC (RFC 4861, section 4.6.1).
    NdOption = 5,
    /// From the guest: no router advertisements (RFC 6105).
    RouterAdvertisement = 6,
    /// From the guest: no ICMPv6 redirects (RFC 4861, section 4.5).
    Redirect = 7,
    /// From the guest: nothing to the ports of DHCP clients (RFC 7610).
    DhcpServer = 8,
    /// Both ways: only IPv4, ARP, IPv6 and the EtherTypes that were allowed.
    Ethertype = 9,
    /// Both ways: only the VLANs that were allowed.
    Vlan = 10,
    /// From the guest: nothing longer than the pod link's MTU.
    Oversized = 11,
    /// To the guest: what is sent to one station is sent to the guest's addresses.
    Destination = 12,
}

impl Rule {
    /// All rules, in the order of their bits.
    pub const ALL: [Self; 13] = [
        Self::SourceMac,
        Self::SourceIpv4,
        Self::SourceIpv6,
        Self::ArpSender,
        Self::NdTarget,
        Self::NdOption,
        Self::RouterAdvertisement,
        Self::Redirect,
        Self::DhcpServer,
        Self::Ethertype,
        Self::Vlan,
        Self::Oversized,
        Self::Destination,
    ];

    /// The bits of all rules together.
    pub const ALL_BITS: u32 = (1 << Self::ALL.len()) - 1;

    /// The rule's bit in [`Port::guard_off`](crate::maps::Port::guard_off).
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The reason under which a frame that breaks the rule is counted.
    pub const fn reason(self) -> DropReason {
        match self {
            Self::SourceMac => DropReason::SourceMac,
            Self::SourceIpv4 => DropReason::SourceIpv4,
            Self::SourceIpv6 => DropReason::SourceIpv6,
            Self::ArpSender => DropReason::ArpSender,
            Self::NdTarget => DropReason::NdTarget,
            Self::NdOption => DropReason::NdOption,
            Self::RouterAdvertisement => DropReason::RouterAdvertisement,
            Self::Redirect => DropReason::Redirect,
            Self::DhcpServer => DropReason::DhcpServer,
            Self::Ethertype => DropReason::Ethertype,
            Self::Vlan => DropReason::Vlan,
            Self::Oversized => DropReason::Oversized,
            Self::Destination => DropReason::Destination,
        }
    }

    /// The stable name: that of [`reason`](Self::reason).
    pub const fn as_str(self) -> &'static str {
        self.reason().as_str()
    }
}

/// No rule has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRule;

impl core::fmt::Display for UnknownRule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no guard rule has this name; the rules are")?;
        for (place, rule) in Rule::ALL.into_iter().enumerate() {
            write!(f, "{} {}", if place == 0 { "" } else { "," }, rule.as_str())?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownRule {}

impl core::str::FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == name).ok_or(UnknownRule)
    }
}

const _: () = assert!(Rule::ALL.len() <= u32::BITS as usize);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn every_rule_has_its_own_bit_and_name() {
        for (place, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule.bit(), 1 << place, "{rule:?}");
            assert_eq!(rule.as_str().parse(), Ok(rule));
            assert_eq!(Rule::ALL.iter().filter(|r| r.as_str() == rule.as_str()).count(), 1);
        }
        assert_eq!(Rule::ALL.iter().fold(0, |bits, rule| bits | rule.bit()), Rule::ALL_BITS);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "malformed".parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains("are source_mac, source_ipv4") && error.ends_with(", destination"), "{error}");
    }
}
