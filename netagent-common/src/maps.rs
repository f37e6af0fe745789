// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layouts of the pinned maps.
//!
//! | map | type | key | value | pinned as |
//! |---|---|---|---|---|
//! | `PORTS` | array | slot | [`Port`] | `PORTS-v<ABI>` |
//! | `COUNTERS` | per-CPU array | slot | [`PortCounters`](crate::counters::PortCounters) | `COUNTERS` |
//! | `BUCKETS` | array | slot | [`Bucket`] | `BUCKETS` |
//! | `PUNT` | ring buffer | – | [`Punted`] records | `PUNT` |
//!
//! Two versions of netagent follow each other under the same ports, forwards and backwards. The rules that make this
//! lose nothing:
//!
//! * Another layout or meaning of [`Port`] needs a new [`ABI_VERSION`](crate::ABI_VERSION), and with it another pin.
//!   Its [head](HEAD) never changes: by it each version finds the slots of every other one.
//! * `COUNTERS`, `BUCKETS` and `PUNT` are the same maps for all versions: counts go on, and frames that an older
//!   program punts reach a newer agent. A place in them never changes its meaning. What must, gets a map of another
//!   name, and the agent that brings it carries the values over.
//! * A slot belongs to one port in all versions' maps, or to none.

use bytemuck::{Pod, Zeroable};

/// How many ports a node can have: the size of every map that is indexed by slot.
pub const MAX_PORTS: u32 = 1024;
/// IPv4 addresses of one port.
pub const MAX_IPV4: usize = 4;
/// IPv6 addresses of one port, link-local ones not counted.
pub const MAX_IPV6: usize = 8;

/// [`Port::flags`]: the slot is in use. A program whose slot lacks it drops everything.
pub const ACTIVE: u32 = 1 << 0;
/// [`Port::flags`]: leave by `bpf_redirect_peer`; else by `bpf_redirect`.
pub const PEER: u32 = 1 << 1;
/// [`Port::flags`]: the pod link had no clsact qdisc before the port was wired, so teardown may remove it.
pub const OWNS_CLSACT: u32 = 1 << 2;

/// Settings and identity of one port. Written by the agent alone; also what the agent finds again after a restart.
///
/// A packet that meets a half-written update sees a mix of the old and the new settings, both of which were allowed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Port {
    /// `st_dev` of the network namespace.
    pub netns_dev: u64,
    /// `st_ino` of the network namespace.
    pub netns_ino: u64,
    /// [`ACTIVE`], [`PEER`], [`OWNS_CLSACT`].
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
    /// The guest's MAC.
    pub guest_mac: [u8; 6],
    /// The pod link's MAC.
    pub pod_mac: [u8; 6],
    /// Unused; keeps the fields below aligned.
    pub reserved: u32,
    /// The port's IPv4 addresses; unused places are 0.0.0.0.
    pub ipv4: [[u8; 4]; MAX_IPV4],
    /// The directed broadcast address that belongs to each of [`ipv4`](Self::ipv4), or 0.0.0.0.
    pub ipv4_broadcast: [[u8; 4]; MAX_IPV4],
    /// The port's IPv6 addresses; unused places are `::`.
    pub ipv6: [[u8; 16]; MAX_IPV6],
}

const _: () = assert!(size_of::<Port>() == 224 + if cfg!(feature = "next-abi") { 32 } else { 0 });

/// Bytes of [`Port`] that are the same in every version: whose the slot is, the devices, and what of [`Port::flags`]
/// is named here.
pub const HEAD: usize = 48;

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Port, netns_dev) == 0 && offset_of!(Port, netns_ino) == 8);
    assert!(offset_of!(Port, flags) == 16 && offset_of!(Port, pod_ifindex) == 20);
    assert!(offset_of!(Port, tap_ifindex) == 24 && offset_of!(Port, mtu) == 28);
    assert!(offset_of!(Port, pod_ifname) == 32 && HEAD == 32 + 16);
    assert!(ACTIVE == 1 && PEER == 2 && OWNS_CLSACT == 4);
};

/// Frames for the agent that a port may still send.
///
/// Two CPUs may take the same token: with a multi-queue tap a port gets at most one token more per CPU, which costs
/// less than a lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Bucket {
    /// When `tokens` was last brought up to date, in nanoseconds of `CLOCK_MONOTONIC`; 0: never.
    pub updated_ns: u64,
    /// Frames left.
    pub tokens: u64,
}

impl Bucket {
    /// Tokens of a full bucket: a guest's boot with three address families and retries fits in.
    pub const BURST: u64 = 64;
    /// Time in which one token comes back: 50 frames per second.
    pub const REFILL_NS: u64 = 20_000_000;

    /// Takes a token at `now_ns`; `false` when there is none.
    #[inline(always)]
    pub fn take(&mut self, now_ns: u64) -> bool {
        if self.updated_ns == 0 {
            *self = Self { updated_ns: now_ns, tokens: Self::BURST };
        }
        let earned = now_ns.saturating_sub(self.updated_ns) / Self::REFILL_NS;
        if earned > 0 {
            self.tokens = Self::BURST.min(self.tokens.saturating_add(earned));
            self.updated_ns = self.updated_ns.wrapping_add(earned.wrapping_mul(Self::REFILL_NS));
        }
        let granted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        granted
    }
}

/// Longest frame that is punted, in bytes: DHCP needs less. All ones, because the program bounds a length by it as a
/// mask.
pub const PUNT_FRAME: usize = 0x7ff;

/// What a punted frame is; the agent's servers are chosen by it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PuntKind {
    /// A DHCPv4 client's message.
    Dhcpv4 = 1,
    /// A DHCPv6 client's message.
    Dhcpv6 = 2,
    /// A router solicitation.
    RouterSolicitation = 3,
}

impl PuntKind {
    /// The kind that a record claims.
    pub const fn from_u32(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Dhcpv4),
            2 => Some(Self::Dhcpv6),
            3 => Some(Self::RouterSolicitation),
            _ => None,
        }
    }
}

/// One record of the punt ring.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Punted {
    /// The port that the frame came from.
    pub slot: u32,
    /// [`PuntKind`] as a number.
    pub kind: u32,
    /// Bytes of `frame` that are the frame.
    pub len: u32,
    /// The frame from its Ethernet header on; bytes behind `len` mean nothing.
    pub frame: [u8; PUNT_FRAME + 1],
}

const _: () = assert!(size_of::<Punted>() == 2060 && align_of::<Punted>() <= 8);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn grants(bucket: &mut Bucket, now: u64, tries: u64) -> u64 {
        (0..tries).filter(|_| bucket.take(now)).count() as u64
    }

    #[test]
    fn a_flood_gets_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::zeroed();
        assert_eq!(grants(&mut bucket, SECOND, 100_000), Bucket::BURST);
        assert_eq!(grants(&mut bucket, SECOND + Bucket::REFILL_NS - 1, 10), 0);
        assert_eq!(grants(&mut bucket, 2 * SECOND, 100_000), SECOND / Bucket::REFILL_NS);
    }

    #[test]
    fn a_quiet_guest_saves_no_more_than_a_burst() {
        let mut bucket = Bucket::zeroed();
        assert!(bucket.take(SECOND));
        assert_eq!(grants(&mut bucket, 3600 * SECOND, 1000), Bucket::BURST);
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_neither_grants_nor_panics() {
        let mut bucket = Bucket { updated_ns: 10 * SECOND, tokens: 1 };
        assert!(bucket.take(SECOND));
        assert!(!bucket.take(SECOND));
        assert!(!bucket.take(10 * SECOND));
    }

    #[test]
    fn punt_kinds_round_trip() {
        for kind in [PuntKind::Dhcpv4, PuntKind::Dhcpv6, PuntKind::RouterSolicitation] {
            assert_eq!(PuntKind::from_u32(kind as u32), Some(kind));
        }
        assert_eq!(PuntKind::from_u32(0), None);
    }
}
