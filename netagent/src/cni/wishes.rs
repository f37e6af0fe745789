// SPDX-License-Identifier: MIT OR Apache-2.0
//! netagent's own keys in a configuration: what the operator wants of the ports of this network.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Map, Value};

use super::{CniError, NetConf, netconf::field};
use crate::core::{
    hand_off::{HandOff, private_option},
    ids::{IfName, MacAddr},
    nearest::nearest,
    tier::TierChoice,
};

/// Our keys, as they are documented.
const KEYS: [&str; 8] = ["socket", "tap", "tier", "mode", "queues", "owner", "mac", "dhcp"];
/// The keys below `dhcp`, which are those of the API.
const DHCP_KEYS: [&str; 9] =
    ["dns", "search", "domain", "ntp", "mtu", "tftp_server", "boot_file", "private_options", "lease_seconds"];
/// `MAX_TAP_QUEUES` of drivers/net/tun.c.
const MAX_QUEUES: u16 = 256;

/// What a configuration asks for. Absent fields leave netagent's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Name of the tap.
    pub tap: Option<IfName>,
    /// How packets leave.
    pub tier: TierChoice,
    /// Queue pairs of the tap.
    pub queues: Option<u16>,
    /// Who may open the tap.
    pub owner: Option<Owner>,
    /// The guest's MAC.
    pub mac: Option<MacAddr>,
    /// What the guest is told in place of the pod's word, or besides.
    pub hand_off: HandOff,
}

/// A tap's user, and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: Option<u32>,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |id: &str| id.parse().map_err(|_| "expected numbers, as in \"107:107\"".to_owned());
        match text.split_once(':') {
            Some((uid, gid)) => Ok(Self { uid: number(uid)?, gid: Some(number(gid)?) }),
            None => Ok(Self { uid: number(text)?, gid: None }),
        }
    }
}

impl Wishes {
    /// Reads them.
    ///
    /// # Errors
    /// The first key that nobody knows, or the first value that cannot be used.
    pub fn of(conf: &NetConf) -> Result<Self, CniError> {
        let mut wishes = Self::default();
        for (key, value) in conf.foreign_fields() {
            wishes.set(key, value)?;
        }
        Ok(wishes)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), CniError> {
        match key {
            "socket" => {
                let path = text(key, value)?;
                if !path.starts_with('/') {
                    return Err(field(key, value, "expected an absolute path"));
                }
            }
            "tap" => self.tap = Some(parsed(key, value)?),
            "tier" => self.tier = parsed(key, value)?,
            "mode" if value == "l2" => {}
            "mode" => {
                return Err(field(key, value, "expected \"l2\": the guest has the pod's address and MAC"));
            }
            "queues" => self.queues = Some(queues(value)?),
            "owner" => self.owner = Some(owner(value)?),
            "mac" => self.mac = Some(parsed(key, value)?),
            "dhcp" => self.hand_off = hand_off(value)?,
            _ => return Err(unknown(key, value, &KEYS, "")),
        }
        Ok(())
    }
}

fn queues(value: &Value) -> Result<u16, CniError> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let number = number.filter(|number| (1..=MAX_QUEUES).contains(number));
    number.ok_or_else(|| field("queues", value, format!("a tap has 1 to {MAX_QUEUES}")))
}

fn owner(value: &Value) -> Result<Owner, CniError> {
    match value.as_u64().map(u32::try_from) {
        Some(Ok(uid)) => Ok(Owner { uid, gid: None }),
        _ => parsed("owner", value),
    }
}

/// `false` hands nothing off, `true` what the pod says; an object says what to tell instead, or besides.
fn hand_off(value: &Value) -> Result<HandOff, CniError> {
    let mut told = HandOff::default();
    match value {
        Value::Bool(on) => told.off = !on,
        Value::Object(fields) => {
            for (key, value) in fields {
                tell(&mut told, key, value)?;
            }
        }
        _ => return Err(field("dhcp", value, "expected true, false or an object")),
    }
    told.check().map_err(|e| field("dhcp", value, e.to_string()))?;
    Ok(told)
}

fn tell(told: &mut HandOff, key: &str, value: &Value) -> Result<(), CniError> {
    let path = format!("dhcp.{key}");
    match key {
        "dns" => told.dns = list(&path, value)?,
        "search" => told.search = list(&path, value)?,
        "domain" => told.domain = Some(text(&path, value)?.to_owned()),
        "ntp" => told.ntp = list(&path, value)?,
        "mtu" => told.mtu = Some(number(&path, value)?),
        "tftp_server" => told.tftp_server = Some(text(&path, value)?.to_owned()),
        "boot_file" => told.boot_file = Some(text(&path, value)?.to_owned()),
        "private_options" => told.private_options = private_options(&path, value)?,
        "lease_seconds" => told.lease_seconds = Some(number(&path, value)?),
        _ => return Err(unknown(key, value, &DHCP_KEYS, "dhcp.")),
    }
    Ok(())
}

/// Codes and what they carry, as text or `0xBYTES`.
fn private_options(path: &str, value: &Value) -> Result<BTreeMap<u8, Vec<u8>>, CniError> {
    let options = object(path, value)?;
    let one = |(code, value): (&String, &Value)| {
        let content = text(&format!("{path}.{code}"), value)?;
        private_option(&format!("{code}={content}")).map_err(|e| field(path, value, e.to_string()))
    };
    options.iter().map(one).collect()
}

fn unknown(key: &str, value: &Value, known: &[&str], below: &str) -> CniError {
    CniError::UnknownKey {
        key: format!("{below}{key}"),
        value: value.to_string(),
        nearest: nearest(key, known.iter().copied()).map(|key| format!("{below}{key}")),
    }
}

fn object<'a>(key: &str, value: &'a Value) -> Result<&'a Map<String, Value>, CniError> {
    value.as_object().ok_or_else(|| field(key, value, "expected an object"))
}

fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str, CniError> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| field(key, value, "expected a text"))
}

fn number(key: &str, value: &Value) -> Result<u32, CniError> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| field(key, value, "expected a number"))
}

fn parsed<T: FromStr<Err: ToString>>(key: &str, value: &Value) -> Result<T, CniError> {
    text(key, value)?.parse().map_err(|e: T::Err| field(key, value, e.to_string()))
}

fn list<T: FromStr<Err: ToString>>(key: &str, value: &Value) -> Result<Vec<T>, CniError> {
    let items = value.as_array().ok_or_else(|| field(key, value, "expected a list"))?;
    items.iter().map(|item| parsed(key, item)).collect()
}
