// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys of a port's annotations, and what each lays on an ask.

use std::{net::IpAddr, str::FromStr};

use super::{ATTACH, PREFIX, Permitted};
use crate::core::{
    ask::{MAX_QUEUES, PortAsk},
    guard::{self, EtherType, GuardError, RulesOff, VlanId},
    hand_off::{HandOffError, PRIVATE_CODES, SHORT_RENEW_SECONDS, private_option},
    ids::IdError,
    nearest::nearest,
};

/// Something that can be said of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Mode,
    Tap,
    Mac,
    Queues,
    Owner,
    Tier,
    Hostname,
    Dns,
    Search,
    Domain,
    Ntp,
    Mtu,
    TftpServer,
    BootFile,
    LeaseSeconds,
    ShortRenew,
    NoHandOff,
    GuardOff,
    AllowPrefix,
    AllowVlan,
    AllowEthertype,
    /// `option-224`: a DHCPv4 option for private use.
    Option(u8),
}

/// As they are written.
const NAMES: [(&str, Key); 21] = [
    ("mode", Key::Mode),
    ("tap", Key::Tap),
    ("mac", Key::Mac),
    ("queues", Key::Queues),
    ("owner", Key::Owner),
    ("tier", Key::Tier),
    ("hostname", Key::Hostname),
    ("dns", Key::Dns),
    ("search", Key::Search),
    ("domain", Key::Domain),
    ("ntp", Key::Ntp),
    ("mtu", Key::Mtu),
    ("tftp-server", Key::TftpServer),
    ("boot-file", Key::BootFile),
    ("lease-seconds", Key::LeaseSeconds),
    ("short-renew", Key::ShortRenew),
    ("no-hand-off", Key::NoHandOff),
    ("guard-off", Key::GuardOff),
    ("allow-prefix", Key::AllowPrefix),
    ("allow-vlan", Key::AllowVlan),
    ("allow-ethertype", Key::AllowEthertype),
];
const OPTION: &str = "option-";

/// What is wrong with an annotation, and what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such key.
    #[error("there is no such annotation{meant}")]
    Unknown {
        /// What it was likely meant to be, as a question; or all that there are.
        meant: String,
    },
    /// Something is said of a port, and none is asked for.
    #[error("nothing asks for a port; add {ATTACH}: \"true\", or with the names of the pod's links")]
    NoAttach,
    /// A link that cannot be.
    #[error("give `true` for eth0, or the names of the pod's links with commas between")]
    Link(#[source] IdError),
    /// A link that is named more than once.
    #[error("link {0} is named twice; name it once")]
    LinkTwice(String),
    /// More links than a pod has.
    #[error("{have} links: name at most {room}")]
    TooManyLinks {
        /// How many were named.
        have: usize,
        /// How many may be.
        room: usize,
    },
    /// More than there can be to say.
    #[error("it is too long; give at most {most} bytes")]
    TooLong {
        /// How long it may be.
        most: usize,
    },
    /// A link that gets no port.
    #[error("{ATTACH} names no link {0}; add it there, or take this annotation away")]
    NoSuchLink(String),
    /// Two ports cannot share it.
    #[error("the pod has several ports, which cannot share it; give it for each as {PREFIX}LINK.{0}")]
    NeedsLink(String),
    /// Two ports with one tap.
    #[error("two ports have the tap {0}; give each its own by {PREFIX}LINK.tap")]
    TapTwice(String),
    /// Two keys for one thing.
    #[error("{PREFIX}lease-seconds is there too; keep one of the two")]
    TwoLeaseTimes,
    /// Not a truth value.
    #[error("give `true` or `false`")]
    Bool,
    /// Not a number, or one out of bounds.
    #[error("give a number from {least} to {most}")]
    Number {
        /// The least.
        least: u32,
        /// The greatest.
        most: u32,
    },
    /// Not an owner.
    #[error("give a user id, or user and group id as in 107:107")]
    Owner,
    /// Not an address.
    #[error("`{0}` is no address; give them as in 192.0.2.1 or 2001:db8::1, with commas between")]
    Address(String),
    /// Not a prefix.
    #[error("`{0}` is no prefix; give it as in 192.0.2.0/24 or 2001:db8::/64")]
    Prefix(String),
    /// No value.
    #[error("it is empty; give it a value, or take it away")]
    Empty,
    /// No such mode.
    #[error(
        "give l2, for a tap and DHCP of netagent's, or accelerate, for a bridge of KubeVirt's that is there"
    )]
    Mode,
    /// What KubeVirt tells the guest stays KubeVirt's.
    #[error(
        "the guest of this port is told what KubeVirt tells it; take away what is laid over that, as dns, mtu or \
         lease-seconds"
    )]
    NotOurHandOff,
    /// No such tier.
    #[error("give auto, peer, plain or xdp")]
    Tier,
    /// Not an identity.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Nothing that a guest can be told.
    #[error(transparent)]
    HandOff(#[from] HandOffError),
    /// No exception from the guard.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Only the operator may.
    #[error(
        "pods may make no exceptions from the guard on this node; take it away, or have the operator set \
         `guard_exceptions = true` in [pods] of the agent's configuration"
    )]
    NotPermitted,
}

impl Key {
    /// # Errors
    /// When there is no such key.
    pub(super) fn parse(name: &str) -> Result<Self, Problem> {
        if let Some((_, key)) = NAMES.into_iter().find(|(known, _)| *known == name) {
            return Ok(key);
        }
        let code = name.strip_prefix(OPTION).and_then(|code| code.parse::<u32>().ok());
        match code {
            Some(code) => match u8::try_from(code) {
                Ok(narrow) if PRIVATE_CODES.contains(&narrow) => Ok(Self::Option(narrow)),
                _ => Err(HandOffError::PrivateCode(code).into()),
            },
            None => {
                let known = NAMES.into_iter().map(|(known, _)| known).chain(["attach", "option-224"]);
                let meant = match nearest(name, known) {
                    Some(meant) => format!("; did you mean {PREFIX}{meant}?"),
                    None => {
                        format!("; there are attach, {}, option-NNN", NAMES.map(|(name, _)| name).join(", "))
                    }
                };
                Err(Problem::Unknown { meant })
            }
        }
    }

    /// Whether no two ports of a pod can have the same.
    pub(super) fn is_of_one_port(self) -> bool {
        matches!(self, Self::Tap | Self::Mac)
    }

    /// Lays a value on an ask.
    pub(super) fn lay_on(self, ask: &mut PortAsk, value: &str, permitted: Permitted) -> Result<(), Problem> {
        if value.trim().is_empty() {
            return Err(Problem::Empty);
        }
        let told = &mut ask.hand_off;
        match self {
            Self::Mode => ask.mode = value.trim().parse().map_err(|_| Problem::Mode)?,
            Self::Tap => ask.tap.name = value.parse()?,
            Self::Mac => ask.mac = Some(value.parse()?),
            Self::Queues => {
                ask.tap.queues = bounded(value, 1, MAX_QUEUES.into())?.try_into().unwrap_or(MAX_QUEUES)
            }
            Self::Owner => (ask.tap.uid, ask.tap.gid) = owner(value)?,
            Self::Tier => ask.tier = value.parse().map_err(|_| Problem::Tier)?,
            Self::Hostname => ask.hostname = Some(value.to_owned()),
            Self::Dns => told.dns = addresses(value)?,
            Self::Search => told.search = list(value).map(str::to_owned).collect(),
            Self::Domain => told.domain = Some(value.to_owned()),
            Self::Ntp => told.ntp = addresses(value)?,
            Self::Mtu => told.mtu = Some(bounded(value, 68, u32::MAX)?),
            Self::TftpServer => told.tftp_server = Some(value.to_owned()),
            Self::BootFile => told.boot_file = Some(value.to_owned()),
            Self::LeaseSeconds => told.lease_seconds = Some(bounded(value, 0, u32::MAX)?),
            Self::ShortRenew => told.lease_seconds = truth(value)?.then_some(SHORT_RENEW_SECONDS),
            Self::NoHandOff => told.off = truth(value)?,
            Self::Option(code) => {
                let (code, bytes) = private_option(&format!("{code}={value}"))?;
                told.private_options.insert(code, bytes);
            }
            Self::GuardOff | Self::AllowPrefix | Self::AllowVlan | Self::AllowEthertype => {
                if !permitted.guard_exceptions {
                    return Err(Problem::NotPermitted);
                }
                self.except(ask, value)?;
            }
        }
        // At once, so that the error names the annotation that it comes from.
        Ok(ask.hand_off.check()?)
    }

    fn except(self, ask: &mut PortAsk, value: &str) -> Result<(), Problem> {
        let guard = &mut ask.guard;
        match self {
            Self::GuardOff => guard.off = RulesOff::from_names(list(value))?,
            Self::AllowPrefix => guard.prefixes = list(value).map(prefix).collect::<Result<_, _>>()?,
            Self::AllowVlan => guard.vlans = list(value).map(VlanId::from_str).collect::<Result<_, _>>()?,
            _ => guard.ethertypes = list(value).map(EtherType::from_str).collect::<Result<_, _>>()?,
        }
        Ok(guard.fits()?)
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

fn truth(value: &str) -> Result<bool, Problem> {
    value.trim().parse().map_err(|_| Problem::Bool)
}

fn bounded(value: &str, least: u32, most: u32) -> Result<u32, Problem> {
    let number = value.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or(Problem::Number { least, most })
}

fn owner(value: &str) -> Result<(Option<u32>, Option<u32>), Problem> {
    let id = |text: &str| text.parse::<u32>().map(Some).map_err(|_| Problem::Owner);
    match value.split_once(':') {
        Some((uid, gid)) => Ok((id(uid)?, id(gid)?)),
        None => Ok((id(value)?, None)),
    }
}

fn addresses(value: &str) -> Result<Vec<IpAddr>, Problem> {
    list(value).map(|text| text.parse().map_err(|_| Problem::Address(text.to_owned()))).collect()
}

fn prefix(text: &str) -> Result<ipnet::IpNet, Problem> {
    // An address stands for itself.
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(Into::into));
    Ok(guard::prefix(net.map_err(|_| Problem::Prefix(text.to_owned()))?)?)
}
