// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port should be: the ask, met with what the pod is and what the kernel can do.

#[cfg(test)]
pub(crate) mod tests;

use std::net::Ipv6Addr;

use ipnet::IpNet;
use netagent_common::{
    address::{Mac, V4, V6},
    maps::{self, ACTIVE, BRIDGED, MAX_IPV4, MAX_IPV6, OWNS_CLSACT, PEER, PEER_SCRUBS, UNSERVED},
    rule::Rule,
};

use super::{
    guard::{GuardError, GuardSpec},
    guest::{self, Guest},
    hand_off::HandOffError,
    ids::{IfName, MacAddr, NetnsId, PortId},
    mode::Mode,
    pod::{PodFacts, PodLink},
    question::Question,
    self_test::{self, SelfTest},
    spec::{PortSpec, TapSpec},
    tier::{self, Hook, KernelFeatures, Tier, TierChoice, TierError},
};

/// A port as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPort {
    /// Its name.
    pub id: PortId,
    /// Its namespace.
    pub netns_id: NetnsId,
    /// The link that the CNI made.
    pub pod_link: PodLink,
    /// The MAC that the guest's frames leave with: the pod link's; in mode `accelerate` the guest's own, as the bridge
    /// has it.
    pub pod_mac: MacAddr,
    /// What it is made of.
    pub mode: Mode,
    /// The tap to make, or the one that is there.
    pub tap: TapSpec,
    /// Exceptions from the guard.
    pub guard: GuardSpec,
    /// What the guest is told.
    pub guest: Guest,
    /// Whether every IPv6 router of the pod is known by its link-local address.
    pub routers_known: bool,
    /// How packets leave.
    pub tier: Tier,
    /// Why that tier, for people.
    pub tier_reason: String,
    /// What people should know of this path though it works.
    pub warnings: Vec<String>,
    /// Where programs that are not attached yet go.
    pub hook: Hook,
    /// The kernel's `bpf_redirect_peer` scrubs the skb.
    pub peer_scrubs: bool,
}

/// The ask cannot be met as the pod is now.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The tap would replace the pod link.
    #[error("the tap and the pod link are both called {0}; choose another --tap")]
    SameName(IfName),
    /// Nothing reaches the pod yet.
    #[error(
        "pod link {0} is down; wait for the CNI to finish, or set it up with `ip link set {0} up` in the pod's namespace"
    )]
    LinkDown(IfName),
    /// No identity to lend.
    #[error(
        "pod link {0} has no address to hand to the guest; give it one, name the right link with --pod-link, or say --no-hand-off where the guest brings its own"
    )]
    NoAddress(IfName),
    /// More addresses than a port entry holds.
    #[error("pod link {link} has {have} {family} addresses, and a port holds {room}; remove some")]
    TooManyAddresses {
        /// The pod link.
        link: IfName,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// How many it has.
        have: usize,
        /// How many fit.
        room: usize,
    },
    /// No Ethernet below.
    #[error("pod link {0} has no Ethernet address; netagent forwards Ethernet frames only")]
    NotEthernet(IfName),
    /// A MAC that no station can have, as the zero MAC of netkit.
    #[error("{mac} cannot be the guest's MAC: it is all zero or a group address; give one with --mac")]
    GuestMac {
        /// The address.
        mac: MacAddr,
    },
    /// What the bridge has heard is not who the guest is taken for: it would be cut off.
    #[error(
        "the bridge has heard {heard} through tap {tap}, and the guest is taken for {mac}; name its MAC with --mac, or say --guard-off source_mac where others are behind it"
    )]
    OtherStation {
        /// The tap.
        tap: IfName,
        /// The guest's MAC, as far as is known.
        mac: MacAddr,
        /// The other station's.
        heard: MacAddr,
    },
    /// The mode needs what the kernel lacks.
    #[error(
        "mode accelerate needs tcx, which this kernel lacks (6.6): only its links come off a tap in one moment"
    )]
    NeedsTcx,
    /// The exceptions from the guard do not fit.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// What is laid over the pod's word does not fit it.
    #[error(transparent)]
    HandOff(#[from] HandOffError),
    /// The tier cannot be had.
    #[error(transparent)]
    Tier(#[from] TierError),
}

impl DesiredPort {
    /// Meets the ask with the facts.
    ///
    /// # Errors
    /// When the pod, as it is now, cannot have such a port.
    pub fn new(spec: &PortSpec, facts: &PodFacts, kernel: KernelFeatures) -> Result<Self, SpecError> {
        let link = &facts.link;
        let name = || link.ifname.clone();
        if spec.tap.name == link.ifname {
            return Err(SpecError::SameName(name()));
        }
        if !link.up {
            return Err(SpecError::LinkDown(name()));
        }
        if facts.addresses.is_empty() && spec.mode == Mode::L2 && !spec.hand_off.off {
            return Err(SpecError::NoAddress(name()));
        }
        let v4 = facts.addresses.iter().filter(|a| matches!(a, IpNet::V4(_))).count();
        let v6 = facts.addresses.len() - v4;
        for (family, have, room) in [("IPv4", v4, MAX_IPV4), ("IPv6", v6, MAX_IPV6)] {
            if have > room {
                return Err(SpecError::TooManyAddresses { link: name(), family, have, room });
            }
        }
        let (mac, pod_mac) = match spec.mode {
            Mode::L2 => {
                let pod_mac = link.mac.ok_or_else(|| SpecError::NotEthernet(name()))?;
                (spec.mac.unwrap_or(pod_mac), pod_mac)
            }
            Mode::Accelerate => {
                let mac = bridged_mac(spec, facts, kernel)?;
                (mac, mac)
            }
        };
        if !mac.is_station() {
            return Err(SpecError::GuestMac { mac });
        }
        spec.guard.fits()?;
        let (tier, tier_reason) = tier::choose(spec.tier, link, kernel)?;
        let guest = Guest::inherit(mac, facts, &spec.hand_off);
        Ok(Self {
            id: spec.id(),
            netns_id: spec.netns_id,
            pod_link: link.clone(),
            pod_mac,
            mode: spec.mode,
            tap: spec.tap.clone(),
            guard: spec.guard.clone(),
            warnings: warnings(spec, facts, &guest),
            guest,
            routers_known: guest::unknown_gateways(facts).is_empty(),
            tier,
            tier_reason,
            hook: kernel.hook(),
            peer_scrubs: kernel.peer_scrubs,
        })
    }

    /// Heeds what the self-test came to: `peer` that failed is not taken again, and the outcome stands in the reason.
    ///
    /// # Errors
    /// When `peer` was asked for by name and failed.
    pub fn heed(mut self, choice: TierChoice, outcome: SelfTest) -> Result<Self, TierError> {
        if self.mode == Mode::Accelerate {
            self.tier_reason.push_str("; unproved: the tap is the VM's, and is not opened to ask through it");
            return Ok(self);
        }
        let gateway = self.question().map(|question| question.gateway());
        if (outcome, self.tier) == (SelfTest::PeerFailed, Tier::Peer) {
            let obstacle = self_test::peer_failed(gateway);
            if choice == TierChoice::Peer {
                return Err(TierError { tier: Tier::Peer, obstacle });
            }
            self.tier = Tier::Plain;
            self.tier_reason = obstacle;
        } else {
            let proof = outcome.words(self.tier, gateway);
            self.tier_reason = format!("{}; {proof}", self.tier_reason);
        }
        Ok(self)
    }

    /// What its self-test asks; nothing when there is nobody to ask, or the tap is not ours to ask through.
    pub fn question(&self) -> Option<Question> {
        match self.mode {
            Mode::L2 => Question::of(&self.guest),
            Mode::Accelerate => None,
        }
    }

    /// The port entry that the programs read. A tap that is still to be made has index 0.
    pub fn entry(&self, tap_ifindex: u32, owns_clsact: bool) -> maps::Port {
        let mut entry: maps::Port = bytemuck::Zeroable::zeroed();
        entry.netns_dev = self.netns_id.dev;
        entry.netns_ino = self.netns_id.ino;
        entry.flags = ACTIVE
            | if self.tier == Tier::Peer { PEER } else { 0 }
            | if self.peer_scrubs { PEER_SCRUBS } else { 0 }
            | if owns_clsact { OWNS_CLSACT } else { 0 }
            | match self.mode {
                Mode::Accelerate => BRIDGED,
                Mode::L2 if self.guest.hand_off.off => UNSERVED,
                Mode::L2 => 0,
            };
        entry.pod_ifindex = self.pod_link.ifindex;
        entry.tap_ifindex = tap_ifindex;
        entry.mtu = self.pod_link.mtu;
        for (to, from) in entry.pod_ifname.iter_mut().zip(self.id.pod_link.as_str().bytes()) {
            *to = from;
        }
        entry.guest_mac = Mac::new(self.guest.mac.0);
        entry.pod_mac = Mac::new(self.pod_mac.0);
        entry.link_local = entry.guest_mac.link_local();
        self.guard.write(&mut entry);
        let mut drop_rules = |rules: &[Rule]| rules.iter().for_each(|rule| entry.guard_off |= rule.bit());
        if !has_identity(&self.guest.addresses, &self.guard) {
            drop_rules(&ADDRESS_RULES);
        }
        if self.mode == Mode::Accelerate {
            drop_rules(&NOT_IDENTITY);
        }
        self.write_addresses(&mut entry);
        self.write_next_hops(&mut entry);
        entry
    }

    /// Routers that an earlier agent told the guest of, by the port's entry, and that are none of the pod's any more. None
    /// while one is still looked for: it may be just that.
    pub fn gone_routers(&self, entry: &maps::Port) -> Vec<Ipv6Addr> {
        if !self.routers_known || self.guest.hand_off.off || entry.flags & UNSERVED != 0 {
            return Vec::new();
        }
        let told = entry.ipv6_neighbours.iter().filter(|hop| hop.is_link_local());
        let told = told.map(|hop| Ipv6Addr::from(hop.octets()));
        told.filter(|hop| self.guest.routers.iter().all(|router| router.link_local != *hop)).collect()
    }

    fn write_addresses(&self, entry: &mut maps::Port) {
        let mut v4 = entry.ipv4.iter_mut().zip(entry.ipv4_broadcast.iter_mut());
        let mut v6 = entry.ipv6.iter_mut();
        for address in &self.guest.addresses {
            match address {
                IpNet::V4(a) => {
                    if let Some((place, broadcast)) = v4.next() {
                        *place = V4::new(a.addr().octets());
                        // A /31 or /32 has no broadcast address (RFC 3021).
                        if a.prefix_len() < 31 {
                            *broadcast = V4::new(a.broadcast().octets());
                        }
                    }
                }
                IpNet::V6(a) => {
                    if let Some(place) = v6.next() {
                        *place = V6::new(a.addr().octets());
                    }
                }
            }
        }
    }

    /// The routers' link-local addresses, which the guest must not pass itself off as. The default route's matters most
    /// and comes first.
    fn write_next_hops(&self, entry: &mut maps::Port) {
        for (place, router) in entry.ipv6_neighbours.iter_mut().zip(&self.guest.routers) {
            *place = V6::new(router.link_local.octets());
        }
    }
}

/// The rules that hold a guest to its addresses.
const ADDRESS_RULES: [Rule; 5] =
    [Rule::SourceIpv4, Rule::SourceIpv6, Rule::ArpSender, Rule::NdTarget, Rule::Destination];

/// The rules that are not about who the guest is. A bridge gives the guest whatever comes, and a VM that was wired so
/// must not miss it.
const NOT_IDENTITY: [Rule; 3] = [Rule::Destination, Rule::Ethertype, Rule::Vlan];

/// The guest's MAC in mode `accelerate`: the bridge never changed one, so the guest and the node know it by this.
fn bridged_mac(spec: &PortSpec, facts: &PodFacts, kernel: KernelFeatures) -> Result<MacAddr, SpecError> {
    if kernel.hook() != Hook::Tcx {
        return Err(SpecError::NeedsTcx);
    }
    if spec.tier == TierChoice::Xdp {
        let obstacle = format!("{} is in a bridge, which would carry on without XDP", facts.link.ifname);
        return Err(TierError { tier: Tier::Xdp, obstacle }.into());
    }
    let behind = facts.behind.clone().unwrap_or_default();
    let mac = spec.mac.or(behind.mac).ok_or_else(|| SpecError::NotEthernet(facts.link.ifname.clone()))?;
    let holds = spec.guard.off.bits() & Rule::SourceMac.bit() == 0;
    match behind.heard.iter().find(|heard| holds && **heard != mac) {
        Some(heard) => Err(SpecError::OtherStation { tap: spec.tap.name.clone(), mac, heard: *heard }),
        None => Ok(mac),
    }
}

/// Whether there are addresses to hold the guest to: the pod link's, or prefixes that were allowed.
fn has_identity(addresses: &[IpNet], guard: &GuardSpec) -> bool {
    !addresses.is_empty() || !guard.prefixes.is_empty()
}

/// What people should know though it works.
fn warnings(spec: &PortSpec, facts: &PodFacts, guest: &Guest) -> Vec<String> {
    let rules = facts.rules.iter().map(|rules| format!("the guest's packets do not pass {rules}"));
    let routers = guest::unknown_gateways(facts).into_iter().map(|gateway| {
        format!(
            "no link-local address of the IPv6 gateway {gateway} answers, so no router advertisement gives the guest \
             the routes through it; see that the gateway is up and has a link-local address, or set them in the guest"
        )
    });
    let identity = (!has_identity(&facts.addresses, &spec.guard)).then(|| {
        format!(
            "{} has no address, so the guest is held to its MAC alone; hold it to prefixes with --allow-prefix",
            facts.link.ifname
        )
    });
    let bent = spec
        .hand_off
        .mtu
        .filter(|mtu| *mtu != guest.mtu)
        .map(|mtu| format!("the guest is told mtu {} instead of {mtu}, as the pod is now", guest.mtu));
    rules.chain(routers).chain(identity).chain(bent).collect()
}

/// The port that an entry belongs to, or `None` for a slot that is free or holds no valid name.
pub fn entry_id(entry: &maps::Port) -> Option<PortId> {
    if entry.flags & ACTIVE == 0 {
        return None;
    }
    let name = entry.pod_ifname.split(|b| *b == 0).next()?;
    let pod_link = std::str::from_utf8(name).ok()?.parse().ok()?;
    Some(PortId { netns_ino: entry.netns_ino, pod_link })
}
