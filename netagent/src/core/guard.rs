// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port's guest may do beyond its own identity: rules that are switched off, and what is allowed besides.

use std::{collections::BTreeSet, fmt, str::FromStr};

use ipnet::IpNet;
use netagent_common::{
    address::{PrefixV4, PrefixV6},
    maps::{Full, MAX_ETHERTYPES, MAX_PREFIXES, MAX_VLANS, Port},
    rule::Rule,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Exceptions from the guard; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardSpec {
    /// Rules that are not held.
    pub off: RulesOff,
    /// Prefixes that the guest may use besides the pod's addresses, as a router or the holder of a VIP does.
    pub prefixes: BTreeSet<IpNet>,
    /// VLANs whose tags the guest may use.
    pub vlans: BTreeSet<VlanId>,
    /// EtherTypes besides IPv4, ARP and IPv6.
    pub ethertypes: BTreeSet<EtherType>,
}

impl GuardSpec {
    /// Whether a port entry holds them all.
    ///
    /// # Errors
    /// The first list that is too long.
    pub fn fits(&self) -> Result<(), GuardError> {
        let v4 = self.prefixes.iter().filter(|p| matches!(p, IpNet::V4(_))).count();
        let lists = [
            ("allowed IPv4 prefixes", v4, MAX_PREFIXES),
            ("allowed IPv6 prefixes", self.prefixes.len() - v4, MAX_PREFIXES),
            ("allowed VLANs", self.vlans.len(), MAX_VLANS),
            ("allowed EtherTypes", self.ethertypes.len(), MAX_ETHERTYPES),
        ];
        match lists.into_iter().find(|(_, have, room)| have > room) {
            Some((what, have, room)) => Err(GuardError::TooMany { what, have, room }),
            None => Ok(()),
        }
    }

    /// Writes them into a port entry, which [`fits`](Self::fits) has found large enough.
    pub fn write(&self, entry: &mut Port) {
        entry.guard_off = self.off.bits();
        // What does not fit is not allowed: the guard stays on the strict side.
        let _ = self.prefixes.iter().try_for_each(|prefix| allow(entry, *prefix));
        let _ = self.vlans.iter().try_for_each(|id| entry.allow_vlan(id.get()));
        let _ = self.ethertypes.iter().try_for_each(|number| entry.allow_ethertype(number.get()));
    }
}

fn allow(entry: &mut Port, prefix: IpNet) -> Result<(), Full> {
    match prefix {
        IpNet::V4(net) => match PrefixV4::new(net.addr().octets(), net.prefix_len()) {
            Some(prefix) => entry.allow_ipv4_prefix(prefix),
            None => Ok(()),
        },
        IpNet::V6(net) => match PrefixV6::new(net.addr().octets(), net.prefix_len()) {
            Some(prefix) => entry.allow_ipv6_prefix(prefix),
            None => Ok(()),
        },
    }
}

/// A set of rules, as text a list of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesOff(pub BTreeSet<Rule>);

impl RulesOff {
    /// The name that stands for every rule.
    pub const ALL: &str = "all";

    /// The rules of these names; `all` stands for every one.
    ///
    /// # Errors
    /// The first name that no rule has.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, GuardError> {
        let mut off = BTreeSet::new();
        for name in names {
            match name {
                Self::ALL => off.extend(Rule::ALL),
                name => _ = off.insert(name.parse().map_err(|_| GuardError::Rule(name.to_owned()))?),
            }
        }
        Ok(Self(off))
    }

    /// Their names; `all` for every one.
    pub fn names(&self) -> Vec<&'static str> {
        if self.0.len() == Rule::ALL.len() {
            return vec![Self::ALL];
        }
        self.0.iter().map(|rule| rule.as_str()).collect()
    }

    /// Their bits in the port entry.
    pub fn bits(&self) -> u32 {
        self.0.iter().fold(0, |bits, rule| bits | rule.bit())
    }
}

impl Serialize for RulesOff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|rule| rule.as_str()))
    }
}

impl<'de> Deserialize<'de> for RulesOff {
    /// A name that this version does not know is passed over: the guard is then stricter than was asked for, and the
    /// port goes on.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Ok(Self(names.iter().filter_map(|name| name.parse().ok()).collect()))
    }
}

/// A VLAN identifier, 1 to 4094 (IEEE 802.1Q, 9.6; 0 is a priority tag, 4095 is reserved).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// The identifier as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for VlanId {
    type Error = GuardError;

    fn try_from(id: u16) -> Result<Self, GuardError> {
        if (1..=4094).contains(&id) { Ok(Self(id)) } else { Err(GuardError::Vlan(id.to_string())) }
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

impl FromStr for VlanId {
    type Err = GuardError;

    fn from_str(s: &str) -> Result<Self, GuardError> {
        let id: u16 = s.parse().map_err(|_| GuardError::Vlan(s.to_owned()))?;
        id.try_into()
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An EtherType that can be allowed: not a length (below 0x0600, IEEE 802.3), and none that has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct EtherType(u16);

impl EtherType {
    /// The type as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for EtherType {
    type Error = GuardError;

    fn try_from(number: u16) -> Result<Self, GuardError> {
        match number {
            ..0x0600 => Err(GuardError::EtherType(format!("{number:#06x}"))),
            0x0800 | 0x0806 | 0x86dd => Err(GuardError::HasRules(number)),
            0x8100 | 0x88a8 | 0x9100 => Err(GuardError::IsTag(number)),
            _ => Ok(Self(number)),
        }
    }
}

impl From<EtherType> for u16 {
    fn from(ethertype: EtherType) -> Self {
        ethertype.0
    }
}

impl FromStr for EtherType {
    type Err = GuardError;

    /// Hexadecimal with `0x`, as registries list them.
    fn from_str(s: &str) -> Result<Self, GuardError> {
        let bad = || GuardError::EtherType(s.to_owned());
        let digits =
            s.strip_prefix("0x").filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(bad)?;
        u16::from_str_radix(digits, 16).map_err(|_| bad())?.try_into()
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// An exception that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// No such rule.
    #[error("no guard rule is called `{0}`; the rules are {names}", names = rule_names())]
    Rule(String),
    /// Not a VLAN identifier.
    #[error("`{0}` is no VLAN id; give a number from 1 to 4094")]
    Vlan(String),
    /// Not an EtherType.
    #[error("`{0}` is no EtherType; give it as in 0x88cc, from 0x0600 on")]
    EtherType(String),
    /// Always forwarded, under its own rules.
    #[error("EtherType {0:#06x} is always forwarded, under rules of its own")]
    HasRules(u16),
    /// Says of itself only that a tag follows.
    #[error("EtherType {0:#06x} is that of a VLAN tag; allow the VLAN with --allow-vlan")]
    IsTag(u16),
    /// A prefix that holds every address.
    #[error("prefix {0} holds every address; to allow them all, switch the rule off with --guard-off {1}")]
    Everything(IpNet, &'static str),
    /// More than a port entry holds.
    #[error("{have} {what}, and a port holds {room}; allow fewer")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        have: usize,
        /// How many fit.
        room: usize,
    },
}

fn rule_names() -> String {
    let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    names.push(RulesOff::ALL);
    names.join(", ")
}

/// A prefix that the guest may use, without host bits.
///
/// # Errors
/// When it holds every address.
pub fn prefix(net: IpNet) -> Result<IpNet, GuardError> {
    match (net.prefix_len(), net) {
        (0, IpNet::V4(_)) => Err(GuardError::Everything(net.trunc(), Rule::SourceIpv4.as_str())),
        (0, IpNet::V6(_)) => Err(GuardError::Everything(net.trunc(), Rule::SourceIpv6.as_str())),
        _ => Ok(net.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_known_by_name_and_all_stands_for_every_one() {
        let off = RulesOff::from_names(["source_mac", "vlan"]).unwrap();
        assert_eq!(off.names(), ["source_mac", "vlan"]);
        assert_eq!(off.bits(), Rule::SourceMac.bit() | Rule::Vlan.bit());
        assert_eq!(RulesOff::from_names(["all"]).unwrap().bits(), Rule::ALL_BITS);
        assert_eq!(RulesOff::from_names(["all"]).unwrap().names(), ["all"]);
        let error = RulesOff::from_names(["mac"]).unwrap_err().to_string();
        assert!(error.contains("`mac`; the rules are source_mac,") && error.ends_with(", all"), "{error}");
    }

    #[test]
    fn vlans_and_ethertypes_are_what_can_be_allowed() {
        assert_eq!("4094".parse::<VlanId>().unwrap().get(), 4094);
        for bad in ["0", "4095", "-1", "ten", ""] {
            assert!(bad.parse::<VlanId>().unwrap_err().to_string().contains("from 1 to 4094"), "{bad}");
        }
        assert_eq!("0x88CC".parse::<EtherType>().unwrap().to_string(), "0x88cc");
        for (bad, said) in [
            ("88cc", "as in 0x88cc"),
            ("0x", "as in 0x88cc"),
            ("0x+800", "as in 0x88cc"),
            ("0x05ff", "from 0x0600 on"),
            ("0x0806", "rules of its own"),
            ("0x8100", "--allow-vlan"),
        ] {
            let error = bad.parse::<EtherType>().unwrap_err().to_string();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    #[test]
    fn a_prefix_that_holds_everything_is_no_exception() {
        assert_eq!(prefix("10.1.2.3/16".parse().unwrap()).unwrap().to_string(), "10.1.0.0/16");
        let error = prefix("::/0".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("--guard-off source_ipv6"), "{error}");
    }

    #[test]
    fn exceptions_are_written_and_bounded() {
        let mut spec = GuardSpec {
            off: RulesOff::from_names(["oversized"]).unwrap(),
            prefixes: ["192.0.2.0/24", "2001:db8::/64"].map(|p| p.parse().unwrap()).into(),
            vlans: [VlanId(7)].into(),
            ethertypes: [EtherType(0x88cc)].into(),
        };
        assert_eq!(spec.fits(), Ok(()));
        let mut entry: Port = bytemuck::Zeroable::zeroed();
        spec.write(&mut entry);
        assert_eq!(entry.guard_off, Rule::Oversized.bit());
        assert!(entry.ipv4_prefixes[0].holds(netagent_common::address::V4::new([192, 0, 2, 9])));
        assert!(entry.ipv6_prefixes[0].mask.network == u64::MAX);
        assert_eq!((entry.vlans[0], entry.ethertypes[0]), (7, 0x88cc));

        spec.vlans = (1..=17).map(VlanId).collect();
        assert_eq!(
            spec.fits().unwrap_err().to_string(),
            "17 allowed VLANs, and a port holds 16; allow fewer"
        );
    }

    #[test]
    fn a_rule_of_another_version_is_passed_over() {
        let spec: GuardSpec =
            serde_json::from_str(r#"{"off": ["vlan", "from_the_future"], "vlans": [7]}"#).unwrap();
        assert_eq!(spec.off.names(), ["vlan"]);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<GuardSpec>(&text).unwrap(), spec);
        assert_eq!(serde_json::from_str::<GuardSpec>("{}").unwrap(), GuardSpec::default());
    }
}
