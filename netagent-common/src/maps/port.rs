// SPDX-License-Identifier: MIT OR Apache-2.0
//! Settings and identity of one port.

use bytemuck::{Pod, Zeroable};

use crate::{
    address::{Mac, PrefixV4, PrefixV6, V4, V6},
    rule::Rule,
};

/// IPv4 addresses of one port.
pub const MAX_IPV4: usize = 4;
/// IPv6 addresses of one port, link-local ones not counted.
pub const MAX_IPV6: usize = 8;
/// Link-local next hops of one port.
pub const MAX_NEIGHBOURS: usize = 4;
/// Allowed prefixes of one port, for each family.
pub const MAX_PREFIXES: usize = 8;
/// Allowed VLANs of one port.
pub const MAX_VLANS: usize = 16;
/// Allowed EtherTypes of one port.
pub const MAX_ETHERTYPES: usize = 8;

/// [`Port::flags`]: the slot is in use. A program whose slot lacks it drops everything.
pub const ACTIVE: u32 = 1 << 0;
/// [`Port::flags`]: leave by `bpf_redirect_peer`; else by `bpf_redirect`.
pub const PEER: u32 = 1 << 1;
/// [`Port::flags`]: the pod link had no clsact qdisc before the port was wired, so teardown may remove it.
pub const OWNS_CLSACT: u32 = 1 << 2;
/// [`Port::flags`]: [`Port::ipv4_prefixes`] is not empty.
pub const IPV4_PREFIXES: u32 = 1 << 3;
/// [`Port::flags`]: [`Port::ipv6_prefixes`] is not empty.
pub const IPV6_PREFIXES: u32 = 1 << 4;
/// [`Port::flags`]: [`Port::vlans`] is not empty.
pub const VLANS: u32 = 1 << 5;
/// [`Port::flags`]: [`Port::ethertypes`] is not empty.
pub const ETHERTYPES: u32 = 1 << 6;
/// [`Port::flags`]: this kernel's `bpf_redirect_peer` scrubs the skb and sets its packet type (`skb_scrub_packet`, 6.16
/// and some stable kernels), so the program need not: a helper call costs more than all its comparisons.
pub const PEER_SCRUBS: u32 = 1 << 7;

/// [`Port::flags`]: the agent serves nobody here. What a guest asks of DHCP servers and routers goes to the network's own.
pub const UNSERVED: u32 = 1 << 12;
/// [`Port::flags`]: tap and pod link are in a bridge that is somebody else's, and the programs take frames before it
/// does. What a guest asks of DHCP servers and routers goes on to the bridge, where they were answered before.
pub const BRIDGED: u32 = 1 << 13;

/// [`Port::flags`]: what the self-test of the path came to, a number in these bits; 0 before it was made. The programs
/// do not read it: the agent finds it again after a restart.
pub const SELF_TEST: u32 = 0xf << SELF_TEST_SHIFT;
/// Where the number of [`SELF_TEST`] begins.
pub const SELF_TEST_SHIFT: u32 = 8;

/// Settings and identity of one port. Written by the agent alone; also what the agent finds again after a restart.
///
/// Behind the head, which never changes, comes what every frame is compared with, so that it shares cache lines. A packet that meets a half-written
/// update sees a mix of the old and the new settings, both of which were allowed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Port {
    /// `st_dev` of the network namespace.
    pub netns_dev: u64,
    /// `st_ino` of the network namespace.
    pub netns_ino: u64,
    /// [`ACTIVE`], [`PEER`], [`OWNS_CLSACT`], [`UNSERVED`], [`BRIDGED`], [`SELF_TEST`] and which of the lists below are not empty.
    pub flags: u32,
    /// The pod link, in the port's namespace.
    pub pod_ifindex: u32,
    /// The tap, in the port's namespace.
    pub tap_ifindex: u32,
    /// MTU of the pod link in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Name of the pod link, padded with zeros.
    pub pod_ifname: [u8; 16],
    /// What a next version might bring: it moves all that follows the head.
    #[cfg(feature = "next-abi")]
    pub next: [u8; 32],
    /// The rules that are switched off, by [`Rule::bit`].
    pub guard_off: u32,
    /// Unused; keeps the fields below aligned.
    pub reserved: u32,
    /// The guest's MAC.
    pub guest_mac: Mac,
    /// The pod link's MAC.
    pub pod_mac: Mac,
    /// The port's IPv4 addresses; unused places are 0.0.0.0.
    pub ipv4: [V4; MAX_IPV4],
    /// The port's IPv6 addresses; unused places are `::`.
    pub ipv6: [V6; MAX_IPV6],
    /// The link-local address that the guest forms from its MAC ([`Mac::link_local`]).
    pub link_local: V6,
    /// The directed broadcast address that belongs to each of [`ipv4`](Self::ipv4), or 0.0.0.0.
    pub ipv4_broadcast: [V4; MAX_IPV4],
    /// Link-local next hops, which the guest must never claim; unused places are `::`.
    pub ipv6_neighbours: [V6; MAX_NEIGHBOURS],
    /// IPv4 prefixes that count as the port's own.
    pub ipv4_prefixes: [PrefixV4; MAX_PREFIXES],
    /// IPv6 prefixes that count as the port's own.
    pub ipv6_prefixes: [PrefixV6; MAX_PREFIXES],
    /// VLAN ids whose tag is allowed; unused places are 0, which is no VLAN.
    pub vlans: [u16; MAX_VLANS],
    /// EtherTypes that pass beside IPv4, ARP and IPv6, in host order; unused places are 0.
    pub ethertypes: [u16; MAX_ETHERTYPES],
}

const _: () = assert!(size_of::<Port>() == 680 + if cfg!(feature = "next-abi") { 32 } else { 0 });
const _: () = assert!(align_of::<Port>() == 8);

/// Bytes of [`Port`] that are the same in every version: whose the slot is, the devices, and what of [`Port::flags`]
/// is checked below.
pub const HEAD: usize = 48;

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Port, netns_dev) == 0 && offset_of!(Port, netns_ino) == 8);
    assert!(offset_of!(Port, flags) == 16 && offset_of!(Port, pod_ifindex) == 20);
    assert!(offset_of!(Port, tap_ifindex) == 24 && offset_of!(Port, mtu) == 28);
    assert!(offset_of!(Port, pod_ifname) == 32 && HEAD == 32 + 16);
    assert!(ACTIVE == 1 && PEER == 2 && OWNS_CLSACT == 4);
};

/// The list has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// How many it holds.
    pub room: usize,
}

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "a port holds no more than {}", self.room)
    }
}

impl core::error::Error for Full {}

impl Port {
    /// Whether frames are held to the rule.
    #[inline(always)]
    pub const fn holds_to(&self, rule: Rule) -> bool {
        self.guard_off & rule.bit() == 0
    }

    /// Whether every rule is off.
    #[inline(always)]
    pub const fn holds_to_nothing(&self) -> bool {
        self.guard_off & Rule::ALL_BITS == Rule::ALL_BITS
    }

    /// Adds a prefix whose addresses count as the port's own.
    ///
    /// # Errors
    /// When the list is full.
    pub fn allow_ipv4_prefix(&mut self, prefix: PrefixV4) -> Result<(), Full> {
        add(&mut self.ipv4_prefixes, prefix)?;
        self.flags |= IPV4_PREFIXES;
        Ok(())
    }

    /// Adds a prefix whose addresses count as the port's own.
    ///
    /// # Errors
    /// When the list is full.
    pub fn allow_ipv6_prefix(&mut self, prefix: PrefixV6) -> Result<(), Full> {
        add(&mut self.ipv6_prefixes, prefix)?;
        self.flags |= IPV6_PREFIXES;
        Ok(())
    }

    /// Adds a VLAN id, 1 to 4094.
    ///
    /// # Errors
    /// When the list is full.
    pub fn allow_vlan(&mut self, id: u16) -> Result<(), Full> {
        add(&mut self.vlans, id)?;
        self.flags |= VLANS;
        Ok(())
    }

    /// Adds an EtherType.
    ///
    /// # Errors
    /// When the list is full.
    pub fn allow_ethertype(&mut self, ethertype: u16) -> Result<(), Full> {
        add(&mut self.ethertypes, ethertype)?;
        self.flags |= ETHERTYPES;
        Ok(())
    }
}

/// Puts `value` into the first unused place, unless the list has it.
fn add<T: Copy + PartialEq + Zeroable, const N: usize>(list: &mut [T; N], value: T) -> Result<(), Full> {
    if list.contains(&value) {
        return Ok(());
    }
    let place = list.iter_mut().find(|place| **place == T::zeroed()).ok_or(Full { room: N })?;
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_when_it_is_full_and_holds_nothing_twice() {
        let mut port = Port::zeroed();
        for id in [1, 1, 2] {
            port.allow_vlan(id).unwrap();
        }
        assert_eq!((port.vlans[..3].iter().sum::<u16>(), port.flags), (3, VLANS));
        for ethertype in 1..=MAX_ETHERTYPES as u16 {
            port.allow_ethertype(ethertype).unwrap();
        }
        assert_eq!(port.allow_ethertype(9), Err(Full { room: MAX_ETHERTYPES }));
        assert_eq!(port.allow_ethertype(8), Ok(()));
    }

    #[test]
    fn each_list_sets_its_flag() {
        let mut port = Port::zeroed();
        port.allow_ipv4_prefix(PrefixV4::new([10, 0, 0, 0], 8).unwrap()).unwrap();
        port.allow_ipv6_prefix(PrefixV6::new([0xfd; 16], 8).unwrap()).unwrap();
        port.allow_vlan(7).unwrap();
        port.allow_ethertype(0x88cc).unwrap();
        assert_eq!(port.flags, IPV4_PREFIXES | IPV6_PREFIXES | VLANS | ETHERTYPES);
    }

    #[test]
    fn a_rule_is_on_until_it_is_switched_off() {
        let mut port = Port::zeroed();
        assert!(Rule::ALL.iter().all(|rule| port.holds_to(*rule)) && !port.holds_to_nothing());
        port.guard_off = Rule::Vlan.bit();
        assert!(!port.holds_to(Rule::Vlan) && port.holds_to(Rule::SourceMac));
        port.guard_off = Rule::ALL_BITS;
        assert!(port.holds_to_nothing());
    }
}
