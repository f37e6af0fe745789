// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port should be: the ask, met with what the pod is and what the kernel can do.

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

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::{
        bridged::GuestBehind,
        guard::RulesOff,
        pod::{Dns, HostPeer, Route},
        spec::tests::spec,
    };

    pub(crate) const KERNEL: KernelFeatures =
        KernelFeatures { tcx: true, redirect_peer: true, peer_scrubs: true, xdp: true };

    pub(crate) fn facts() -> PodFacts {
        PodFacts {
            link: PodLink {
                ifname: "eth0".parse().unwrap(),
                ifindex: 2,
                mac: Some(MacAddr([0x0a, 0x58, 10, 244, 0, 9])),
                mtu: 1450,
                kind: "veth".into(),
                up: true,
                peer_elsewhere: true,
                egress: None,
                host_peer: HostPeer::Clear,
                xdp: None,
            },
            addresses: vec!["10.244.0.9/24".parse().unwrap(), "fd00::9/64".parse().unwrap()],
            routes: [("10.244.0.0/24", None), ("fd00::/64", None), ("0.0.0.0/0", Some("10.244.0.1"))]
                .map(|(destination, gateway)| Route {
                    destination: destination.parse().unwrap(),
                    gateway: gateway.map(|g| g.parse().unwrap()),
                    metric: 0,
                })
                .to_vec(),
            dns: Dns { servers: vec!["10.96.0.10".parse().unwrap()], search: vec!["cluster.local".into()] },
            hostname: Some("vm".into()),
            rules: Vec::new(),
            routers: Default::default(),
            behind: None,
        }
    }

    pub(crate) fn desired() -> DesiredPort {
        DesiredPort::new(&spec(), &facts(), KERNEL).unwrap()
    }

    #[test]
    fn the_guest_inherits_the_link_s_mac_unless_one_is_given() {
        assert_eq!(desired().guest.mac, desired().pod_mac);
        let mut spec = spec();
        spec.mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        let port = DesiredPort::new(&spec, &facts(), KERNEL).unwrap();
        assert_eq!((port.guest.mac.0[5], port.pod_mac.0[5]), (1, 9));
    }

    #[test]
    fn a_pod_that_cannot_lend_its_identity_is_refused_by_name() {
        type Spoil = fn(&mut PortSpec, &mut PodFacts);
        let cases: [(&str, Spoil); 8] = [
            ("is down", |_, f| f.link.up = false),
            ("no address", |_, f| f.addresses.clear()),
            ("no Ethernet", |_, f| f.link.mac = None),
            ("cannot be the guest's MAC", |_, f| f.link.mac = Some(MacAddr([0; 6]))),
            ("both called eth0", |s, _| s.tap.name = "eth0".parse().unwrap()),
            ("5 IPv4 addresses", |_, f| {
                f.addresses = (1..=5).map(|i| format!("10.0.0.{i}/24").parse().unwrap()).collect();
            }),
            ("tier xdp is not possible: eth0 is ipvlan", |s, f| {
                s.tier = TierChoice::Xdp;
                f.link.kind = "ipvlan".into();
            }),
            ("tier peer is not possible: eth0 is macvlan", |s, f| {
                s.tier = TierChoice::Peer;
                f.link.kind = "macvlan".into();
            }),
        ];
        for (expected, spoil) in cases {
            let (mut spec, mut facts) = (spec(), facts());
            spoil(&mut spec, &mut facts);
            let error = DesiredPort::new(&spec, &facts, KERNEL).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }

    #[test]
    fn a_failed_self_test_takes_peer_away_unless_it_was_asked_for_by_name() {
        let auto = desired().heed(TierChoice::Auto, SelfTest::PeerFailed).unwrap();
        assert_eq!(auto.tier, Tier::Plain);
        assert_eq!(auto.entry(7, false).flags & PEER, 0);
        assert_eq!(
            auto.tier_reason,
            "peer failed its self-test: 10.244.0.1 answered through plain, and not through peer"
        );
        let mut alone = desired();
        alone.guest.routes.clear();
        assert_eq!(alone.heed(TierChoice::Auto, SelfTest::PeerFailed).unwrap().tier, Tier::Plain);
        let refused = desired().heed(TierChoice::Peer, SelfTest::PeerFailed).unwrap_err().to_string();
        assert!(refused.contains("failed its self-test") && refused.contains("--tier plain"), "{refused}");
        for kept in
            [SelfTest::NotMade, SelfTest::Proved(Tier::Peer), SelfTest::Unanswered, SelfTest::TapInUse]
        {
            let port = desired().heed(TierChoice::Peer, kept).unwrap();
            assert_eq!(port.tier, Tier::Peer);
            assert!(port.tier_reason.contains("another namespace; "), "{}", port.tier_reason);
        }
    }

    #[test]
    fn a_link_without_an_address_is_wired_when_nothing_is_to_be_handed_off() {
        let (mut spec, mut facts) = (spec(), facts());
        facts.addresses.clear();
        facts.routes.clear();
        spec.hand_off.off = true;
        let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
        let entry = port.entry(7, false);
        assert_eq!(entry.flags & UNSERVED, UNSERVED);
        assert!(ADDRESS_RULES.iter().all(|rule| !entry.holds_to(*rule)));
        assert!(entry.holds_to(Rule::SourceMac) && entry.holds_to(Rule::DhcpServer));
        assert!(port.warnings[0].contains("eth0 has no address"), "{:?}", port.warnings);

        // Prefixes are an identity to hold it to, and so are addresses that the guest is not told.
        spec.guard.prefixes = ["192.0.2.0/24".parse().unwrap()].into();
        let held = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
        assert_eq!((held.entry(7, false).guard_off, held.warnings.len()), (0, 0));
        let (spec, facts) = (PortSpec { guard: GuardSpec::default(), ..spec }, self::facts());
        let entry = DesiredPort::new(&spec, &facts, KERNEL).unwrap().entry(7, false);
        assert_eq!((entry.guard_off, entry.flags & UNSERVED), (0, UNSERVED));
    }

    /// A pod whose link is in a bridge of KubeVirt's.
    pub(crate) fn bridged() -> (PortSpec, PodFacts) {
        let (mut spec, mut facts) = (spec(), facts());
        spec.mode = Mode::Accelerate;
        spec.pod_link = "eth0-nic".parse().unwrap();
        facts.link.ifname = spec.pod_link.clone();
        facts.behind = Some(GuestBehind { mac: facts.link.mac, heard: BTreeSet::new() });
        facts.link.mac = Some(MacAddr([0x02, 0, 0, 0, 0, 0xbb]));
        facts.routes.clear();
        (spec, facts)
    }

    #[test]
    fn an_accelerated_guest_keeps_its_mac_and_what_the_bridge_gave_it() {
        let (spec, facts) = bridged();
        let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
        let mac = self::facts().link.mac.unwrap();
        assert_eq!((port.guest.mac, port.pod_mac, port.tier), (mac, mac, Tier::Peer));
        let entry = port.entry(7, false);
        assert_eq!(entry.flags, ACTIVE | PEER | PEER_SCRUBS | BRIDGED);
        assert!(NOT_IDENTITY.iter().all(|rule| !entry.holds_to(*rule)));
        let identity = [Rule::SourceMac, Rule::SourceIpv4, Rule::SourceIpv6, Rule::ArpSender, Rule::NdTarget];
        assert!(identity.iter().all(|rule| entry.holds_to(*rule)));
        assert_eq!((port.question(), port.warnings.len()), (None, 0));
        let port = port.heed(TierChoice::Auto, SelfTest::NotMade).unwrap();
        assert!(port.tier_reason.contains("unproved: the tap is the VM's"), "{}", port.tier_reason);
    }

    #[test]
    fn a_bridged_guest_that_would_be_cut_off_is_refused_with_the_remedy() {
        let (mut spec, mut facts) = bridged();
        let own = facts.behind.as_ref().and_then(|behind| behind.mac).unwrap();
        let other = MacAddr([2, 0, 0, 0, 0, 9]);
        facts.behind.as_mut().unwrap().heard = [own, other].into();
        let error = |spec: &PortSpec, facts: &PodFacts| {
            DesiredPort::new(spec, facts, KERNEL).unwrap_err().to_string()
        };
        let refused = error(&spec, &facts);
        assert!(refused.contains(&other.to_string()) && refused.contains("--mac"), "{refused}");
        facts.behind.as_mut().unwrap().heard = [other].into();
        spec.mac = Some(other);
        assert_eq!(DesiredPort::new(&spec, &facts, KERNEL).unwrap().pod_mac, other);
        spec.mac = None;
        spec.guard.off = RulesOff([Rule::SourceMac].into());
        assert_eq!(DesiredPort::new(&spec, &facts, KERNEL).unwrap().pod_mac, own);

        facts.behind = Some(GuestBehind::default());
        assert!(error(&spec, &facts).contains("no Ethernet address"));
        let (mut spec, facts) = bridged();
        let old = KernelFeatures { tcx: false, ..KERNEL };
        assert_eq!(DesiredPort::new(&spec, &facts, old).unwrap_err(), SpecError::NeedsTcx);
        spec.tier = TierChoice::Xdp;
        assert!(error(&spec, &facts).starts_with("tier xdp is not possible: eth0-nic is in a bridge"));
    }

    #[test]
    fn rules_that_no_tier_passes_are_warned_of() {
        let mut facts = facts();
        facts.rules = vec!["nftables table ip istio".into()];
        let port = DesiredPort::new(&spec(), &facts, KERNEL).unwrap();
        assert_eq!(port.warnings, ["the guest's packets do not pass nftables table ip istio"]);
        assert_eq!(port.tier, Tier::Peer);
    }

    #[test]
    fn a_smaller_mtu_is_the_guest_s_alone() {
        let mut spec = spec();
        spec.hand_off.mtu = Some(1300);
        let mut facts = facts();
        let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
        assert_eq!((port.guest.mtu, port.entry(7, false).mtu, port.warnings.len()), (1300, 1450, 0));
        facts.link.mtu = 1290;
        let port = DesiredPort::new(&spec, &facts, KERNEL).unwrap();
        assert_eq!((port.guest.mtu, port.entry(7, false).mtu), (1290, 1290));
        assert_eq!(port.warnings, ["the guest is told mtu 1290 instead of 1300, as the pod is now"]);
    }

    #[test]
    fn the_entry_holds_identity_and_addresses() {
        let entry = desired().entry(7, false);
        assert_eq!(entry_id(&entry), Some(desired().id));
        assert_eq!(entry.flags, ACTIVE | PEER | PEER_SCRUBS);
        assert_eq!((entry.pod_ifindex, entry.tap_ifindex, entry.mtu), (2, 7, 1450));
        assert_eq!(entry.ipv4.map(V4::octets)[..2], [[10, 244, 0, 9], [0; 4]]);
        assert_eq!(entry.ipv4_broadcast[0].octets(), [10, 244, 0, 255]);
        assert_eq!(entry.ipv6[0].octets()[..2], [0xfd, 0]);
        assert_eq!(entry.guest_mac.octets(), desired().guest.mac.0);
        assert_eq!(entry.link_local, entry.guest_mac.link_local());
        assert_eq!((entry.guard_off, entry.ipv6_neighbours[0]), (0, V6::UNSPECIFIED));
        assert_eq!(entry_id(&bytemuck::Zeroable::zeroed()), None);
    }

    #[test]
    fn a_router_that_was_found_is_kept_from_the_guest_and_one_that_was_not_is_warned_of() {
        let mut facts = facts();
        let gateway = "fd00::1".parse().unwrap();
        facts.routes.push(Route {
            destination: "::/0".parse().unwrap(),
            gateway: Some(std::net::IpAddr::V6(gateway)),
            metric: 0,
        });
        let port = DesiredPort::new(&spec(), &facts, KERNEL).unwrap();
        assert!(port.warnings.len() == 1 && port.warnings[0].contains("fd00::1"), "{:?}", port.warnings);
        assert_eq!(port.entry(7, false).ipv6_neighbours[0], V6::UNSPECIFIED);

        facts.routers.insert(gateway, "fe80::1".parse().unwrap());
        let port = DesiredPort::new(&spec(), &facts, KERNEL).unwrap();
        assert_eq!(port.warnings, Vec::<String>::new());
        let hop = port.entry(7, false).ipv6_neighbours[0];
        assert_eq!(std::net::Ipv6Addr::from(hop.octets()), "fe80::1".parse::<std::net::Ipv6Addr>().unwrap());
    }

    #[test]
    fn link_local_gateways_are_kept_from_the_guest() {
        let mut facts = facts();
        let via = |destination: &str, gateway: &str| Route {
            destination: destination.parse().unwrap(),
            gateway: Some(gateway.parse().unwrap()),
            metric: 0,
        };
        facts.routes = ["fd01::/64", "fd02::/64", "fd03::/64", "fd04::/64"]
            .into_iter()
            .zip(1..)
            .map(|(destination, last)| via(destination, &format!("fe80::{last}")))
            .chain([via("fd05::/64", "fe80::1"), via("fd06::/64", "fd00::1"), via("::/0", "fe80::9")])
            .collect();
        let entry = DesiredPort::new(&spec(), &facts, KERNEL).unwrap().entry(7, false);
        let mut last: Vec<u8> = entry.ipv6_neighbours.iter().map(|hop| hop.octets()[15]).collect();
        assert_eq!(last.remove(0), 9, "the default route's gateway is never left out");
        last.sort_unstable();
        last.dedup();
        assert_eq!(last.len(), 3, "each once");
    }
}
