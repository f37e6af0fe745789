// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted per port, and the names under which people see it.

use bytemuck::{Pod, Zeroable};

/// Packets and bytes; bytes are those of the frame with its Ethernet header, a GSO frame counted whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    /// Adds one frame of `bytes` bytes.
    #[inline(always)]
    pub fn add(&mut self, bytes: u64) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
    }
}

/// Why a frame was refused. The number is its place in [`PortCounters::drops`], so it never changes its meaning.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The slot holds no port: the program outlived its settings.
    Unconfigured = 0,
    /// A header is cut short or contradicts itself.
    Malformed = 1,
    /// From the guest: the Ethernet source is not the guest's.
    SourceMac = 2,
    /// From the guest: the IPv4 source is not the port's.
    SourceIpv4 = 3,
    /// From the guest: the IPv6 source is neither the port's nor the guest's link-local one.
    SourceIpv6 = 4,
    /// From the guest: ARP with a sender that is not the guest, or a probe for somebody else's address.
    ArpSender = 5,
    /// From the guest: it speaks to DHCP clients.
    DhcpServer = 6,
    /// From the guest: it advertises itself as a router.
    RouterAdvertisement = 7,
    /// An EtherType other than IPv4, ARP and IPv6 that was not allowed.
    Ethertype = 8,
    /// A VLAN tag that was not allowed, or more than one.
    Vlan = 9,
    /// From the guest: longer than the pod link's MTU, or to be cut into segments that are.
    Oversized = 10,
    /// To the guest: the destination is neither the guest's nor a group.
    Destination = 11,
    /// For the agent, but the guest sends more of these than its share.
    PuntRate = 12,
    /// For the agent, but the ring is full or absent.
    PuntFull = 13,
    /// From the pod's own stack: it must not speak with the guest's identity.
    PodStack = 14,
    /// From the guest: it advertises or claims an address that is not its own by neighbour discovery.
    NdTarget = 15,
    /// From the guest: neighbour discovery with a link-layer address that is not the guest's.
    NdOption = 16,
    /// From the guest: an ICMPv6 redirect.
    Redirect = 17,
}

impl DropReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::Unconfigured,
        Self::Malformed,
        Self::SourceMac,
        Self::SourceIpv4,
        Self::SourceIpv6,
        Self::ArpSender,
        Self::DhcpServer,
        Self::RouterAdvertisement,
        Self::Ethertype,
        Self::Vlan,
        Self::Oversized,
        Self::Destination,
        Self::PuntRate,
        Self::PuntFull,
        Self::PodStack,
        Self::NdTarget,
        Self::NdOption,
        Self::Redirect,
    ];

    /// The stable name in JSON, metrics and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unconfigured => "unconfigured",
            Self::Malformed => "malformed",
            Self::SourceMac => "source_mac",
            Self::SourceIpv4 => "source_ipv4",
            Self::SourceIpv6 => "source_ipv6",
            Self::ArpSender => "arp_sender",
            Self::DhcpServer => "dhcp_server",
            Self::RouterAdvertisement => "router_advertisement",
            Self::Ethertype => "ethertype",
            Self::Vlan => "vlan",
            Self::Oversized => "oversized",
            Self::Destination => "destination",
            Self::PuntRate => "punt_rate",
            Self::PuntFull => "punt_full",
            Self::PodStack => "pod_stack",
            Self::NdTarget => "nd_target",
            Self::NdOption => "nd_option",
            Self::Redirect => "redirect",
        }
    }
}

/// Room for reasons to come, so that a new one does not change the map's layout.
pub const DROP_REASONS: usize = 29;

/// All counters of one port on one CPU; one map look-up reads or finds them all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PortCounters {
    /// Forwarded from the guest to the node.
    pub from_vm: Count,
    /// Delivered to the guest's tap.
    pub to_vm: Count,
    /// Handed to the agent, or to the bridge of a port that has one: DHCP and router solicitations.
    pub punted: Count,
    /// Refused, by [`DropReason`].
    pub drops: [Count; DROP_REASONS],
}

impl PortCounters {
    /// The counter of `reason`.
    #[inline(always)]
    pub fn dropped(&mut self, reason: DropReason) -> &mut Count {
        // The reasons are fewer than the places (asserted below), so the index is in bounds.
        &mut self.drops[reason as usize]
    }

    /// Adds another CPU's counters.
    pub fn merge(&mut self, other: &Self) {
        let sum = |a: &mut Count, b: &Count| {
            a.packets = a.packets.wrapping_add(b.packets);
            a.bytes = a.bytes.wrapping_add(b.bytes);
        };
        sum(&mut self.from_vm, &other.from_vm);
        sum(&mut self.to_vm, &other.to_vm);
        sum(&mut self.punted, &other.punted);
        for (a, b) in self.drops.iter_mut().zip(&other.drops) {
            sum(a, b);
        }
    }
}

const _: () = assert!(DropReason::ALL.len() <= DROP_REASONS);
const _: () = assert!(size_of::<PortCounters>() == 512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
            assert_eq!(DropReason::ALL.iter().filter(|r| r.as_str() == reason.as_str()).count(), 1);
        }
    }

    #[test]
    fn merge_adds_every_counter() {
        let mut a = PortCounters::default();
        let mut b = PortCounters::default();
        a.from_vm.add(100);
        b.from_vm.add(50);
        b.dropped(DropReason::PuntFull).add(7);
        a.merge(&b);
        assert_eq!(a.from_vm, Count { packets: 2, bytes: 150 });
        assert_eq!(a.drops[DropReason::PuntFull as usize], Count { packets: 1, bytes: 7 });
        assert_eq!(a.drops.iter().map(|d| d.packets).sum::<u64>(), 1);
    }
}
