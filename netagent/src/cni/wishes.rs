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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wishes(own: Value) -> Result<Wishes, CniError> {
        let mut conf = json!({ "cniVersion": "1.0.0", "name": "n", "type": "netagent" });
        let fields = conf.as_object_mut().unwrap();
        fields.extend(own.as_object().unwrap().clone());
        Wishes::of(&NetConf::decode(conf.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn every_key_is_taken() {
        let read = wishes(json!({
            "socket": "/run/x.sock", "tap": "tap9", "tier": "plain", "mode": "l2", "queues": 4, "owner": "107:108",
            "mac": "02:00:00:00:00:01",
            "dhcp": { "dns": ["10.0.0.1", "fd00::1"], "search": ["a.b"], "domain": "a.b", "ntp": ["10.0.0.2"],
                "mtu": 1400, "tftp_server": "t", "boot_file": "b", "lease_seconds": 600,
                "private_options": { "224": "text", "225": "0x0a0b" } },
        }));
        let read = read.unwrap();
        assert_eq!(
            (read.tap.unwrap().as_str(), read.tier, read.queues),
            ("tap9", TierChoice::Plain, Some(4))
        );
        assert_eq!(read.owner, Some(Owner { uid: 107, gid: Some(108) }));
        let told = read.hand_off;
        assert_eq!(
            (told.dns.len(), told.ntp.len(), told.mtu, told.lease_seconds),
            (2, 1, Some(1400), Some(600))
        );
        let options = BTreeMap::from([(224, b"text".to_vec()), (225, vec![10, 11])]);
        assert_eq!((told.private_options, told.off), (options, false));
        assert_eq!(wishes(json!({})).unwrap(), Wishes::default());
        assert_eq!(wishes(json!({ "owner": 107 })).unwrap().owner, Some(Owner { uid: 107, gid: None }));
        assert_eq!(wishes(json!({ "dhcp": true })).unwrap(), Wishes::default());
        assert!(wishes(json!({ "dhcp": false })).unwrap().hand_off.off);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_key() {
        for (own, word) in [
            (json!({ "queue": 2 }), "unsupported field `queue` = 2"),
            (json!({ "dhcp": { "leaseSecond": 5 } }), "unsupported field `dhcp.leaseSecond` = 5"),
            (json!({ "socket": "x" }), "`socket` = \"x\": expected an absolute path"),
            (json!({ "tap": "a/b" }), "`tap` = \"a/b\": `a/b` is not an interface name"),
            (json!({ "tap": 5 }), "`tap` = 5: expected a text"),
            (json!({ "tier": "fast" }), "`tier` = \"fast\""),
            (json!({ "queues": 0 }), "`queues` = 0: a tap has 1 to 256"),
            (json!({ "queues": 257 }), "`queues` = 257: a tap has 1 to 256"),
            (json!({ "owner": "a" }), "`owner` = \"a\": expected numbers"),
            (json!({ "owner": -1 }), "`owner` = -1"),
            (json!({ "mac": "x" }), "`mac` = \"x\": `x` is not a MAC address"),
            (json!({ "dhcp": [] }), "`dhcp` = []: expected true, false or an object"),
            (json!({ "dhcp": { "dns": "10.0.0.1" } }), "`dhcp.dns` = \"10.0.0.1\": expected a list"),
            (json!({ "dhcp": { "lease_seconds": 5 } }), "leases of 5 seconds"),
            (json!({ "dhcp": { "private_options": { "43": "x" } } }), "option 43 is not for private use"),
        ] {
            let error = wishes(own).unwrap_err().to_string();
            assert!(error.contains(word), "{error} should say {word}");
        }
    }
}
