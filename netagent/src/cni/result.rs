// SPDX-License-Identifier: MIT OR Apache-2.0
//! The result of a chain so far: read in any version, carried on whole, added to, written in the version that was asked
//! for.
//!
//! What is not ours to understand is kept as it came: a plugin must hand on what the one before it said.

use std::path::Path;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::{Attachment, CniError, SpecVersion, netconf::field};
use crate::core::ids::MacAddr;

/// Fields of an interface that came with 1.1.0.
const SINCE_1_1: [&str; 3] = ["mtu", "socketPath", "pciID"];

/// What plugins have made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CniResult {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    /// `routes`, `dns`, and whatever else there is.
    rest: Map<String, Value>,
}

/// One interface, on the node, in the pod or in the VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its address as text; empty when not told.
    pub mac: String,
    /// Where it is: a namespace's path, a VM's name, or empty for the node.
    pub sandbox: String,
    fields: Map<String, Value>,
}

/// One address.
#[derive(Clone, Debug, PartialEq)]
struct Ip {
    address: IpNet,
    /// Index of its interface, when that is told.
    interface: Option<usize>,
    fields: Map<String, Value>,
}

/// What VMMs and their tools read of a result: the tap, and the card in the VM that it leads to (tc-redirect-tap,
/// package `vmconf`).
#[derive(Clone, Debug)]
pub struct VmPair<'a> {
    /// Name of the tap, and of the card.
    pub tap: &'a str,
    /// The tap's own address.
    pub tap_mac: &'a str,
    /// The guest's.
    pub guest_mac: &'a str,
    /// Of both, in bytes.
    pub mtu: u32,
}

impl CniResult {
    /// Reads what stands in `prevResult`.
    ///
    /// # Errors
    /// When it is no result.
    pub fn decode(value: &Value) -> Result<Self, CniError> {
        let mut rest = object("prevResult", value)?.clone();
        rest.remove("cniVersion");
        let interfaces = list("prevResult.interfaces", rest.remove("interfaces"))?
            .into_iter()
            .map(Interface::decode)
            .collect::<Result<Vec<_>, _>>()?;
        let ips = list("prevResult.ips", rest.remove("ips"))?
            .into_iter()
            .map(|ip| Ip::decode(ip, interfaces.len()))
            .collect::<Result<_, _>>()?;
        Ok(Self { interfaces, ips, rest })
    }

    /// As JSON of a version.
    pub fn encode(&self, version: SpecVersion) -> Value {
        let mut result = self.rest.clone();
        result.insert("cniVersion".to_owned(), version.as_str().into());
        // Both must be lists where they are there, and may be absent.
        if !self.interfaces.is_empty() {
            let all = self.interfaces.iter().map(|interface| interface.encode(version)).collect();
            result.insert("interfaces".to_owned(), Value::Array(all));
        }
        if !self.ips.is_empty() {
            let all = self.ips.iter().map(|ip| ip.encode(version)).collect();
            result.insert("ips".to_owned(), Value::Array(all));
        }
        Value::Object(result)
    }

    /// Adds a tap in the pod and the VM's card behind it, with the addresses of the pod link.
    pub fn add_vm(&mut self, attachment: &Attachment, netns: &Path, pair: &VmPair<'_>) {
        let addresses: Vec<Ip> = self.addresses_of(attachment, netns).cloned().collect();
        let netns = netns.display().to_string();
        for (mac, sandbox) in [(pair.tap_mac, netns.as_str()), (pair.guest_mac, &attachment.container)] {
            self.interfaces.push(Interface::new(pair.tap, mac, sandbox, pair.mtu));
        }
        let card = self.interfaces.len().saturating_sub(1);
        self.ips.extend(addresses.into_iter().map(|ip| ip.on(card)));
    }

    /// The attachment's interface in the pod.
    pub fn pod_link(&self, attachment: &Attachment, netns: &Path) -> Option<&Interface> {
        self.interface(attachment.ifname.as_str(), &netns.display().to_string())
    }

    /// The interface of that name there.
    pub fn interface(&self, name: &str, sandbox: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|one| one.name == name && one.sandbox == sandbox)
    }

    /// The addresses of the attachment's interface in the pod.
    pub fn addresses(&self, attachment: &Attachment, netns: &Path) -> impl Iterator<Item = IpNet> {
        self.addresses_of(attachment, netns).map(|ip| ip.address)
    }

    fn addresses_of(&self, attachment: &Attachment, netns: &Path) -> impl Iterator<Item = &Ip> {
        let sandbox = netns.display().to_string();
        self.ips.iter().filter(move |ip| match ip.interface {
            Some(index) => self.interfaces.get(index).is_some_and(|interface| {
                interface.name == attachment.ifname.as_str() && interface.sandbox == sandbox
            }),
            // One that belongs to no interface is the attachment's.
            None => true,
        })
    }

    /// `dns` of the result: name servers and search domains as they stand there.
    pub fn dns(&self) -> (Vec<&str>, Vec<&str>) {
        let texts = |key: &str| {
            let list = self.rest.get("dns").and_then(|dns| dns.get(key)).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect()
        };
        (texts("nameservers"), texts("search"))
    }
}

impl Interface {
    fn decode(value: Value) -> Result<Self, CniError> {
        const KEY: &str = "prevResult.interfaces";
        let fields = object(KEY, &value)?;
        let text = |key: &str| match fields.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(field(format!("{KEY}.{key}"), other, "expected a text")),
        };
        Ok(Self { name: text("name")?, mac: text("mac")?, sandbox: text("sandbox")?, fields: fields.clone() })
    }

    fn new(name: &str, mac: &str, sandbox: &str, mtu: u32) -> Self {
        let fields = json!({ "name": name, "mac": mac, "mtu": mtu, "sandbox": sandbox });
        let fields = fields.as_object().cloned().unwrap_or_default();
        Self { name: name.to_owned(), mac: mac.to_owned(), sandbox: sandbox.to_owned(), fields }
    }

    /// Whether its address is this one; an address in another writing is the same.
    pub fn has_mac(&self, mac: &str) -> bool {
        match (self.mac.parse::<MacAddr>(), mac.parse::<MacAddr>()) {
            (Ok(one), Ok(other)) => one == other,
            _ => self.mac == mac,
        }
    }

    fn encode(&self, version: SpecVersion) -> Value {
        let mut fields = self.fields.clone();
        if version < SpecVersion::V1_1_0 {
            for key in SINCE_1_1 {
                fields.remove(key);
            }
        }
        Value::Object(fields)
    }
}

impl Ip {
    fn decode(value: Value, interfaces: usize) -> Result<Self, CniError> {
        const KEY: &str = "prevResult.ips";
        let fields = object(KEY, &value)?;
        let address = fields.get("address").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| field(KEY, &value, "expected an address as in 10.1.0.5/16"))?;
        let interface = match fields.get("interface") {
            None | Some(Value::Null) => None,
            Some(index) => {
                let known = index.as_u64().and_then(|index| usize::try_from(index).ok());
                // It would come to mean one that we add.
                let known = known.filter(|index| *index < interfaces);
                let why = || format!("there is no such interface among the {interfaces}");
                Some(known.ok_or_else(|| field(format!("{KEY}.interface"), index, why()))?)
            }
        };
        Ok(Self { address, interface, fields: fields.clone() })
    }

    fn on(mut self, interface: usize) -> Self {
        self.interface = Some(interface);
        self.fields.insert("interface".to_owned(), interface.into());
        self
    }

    fn encode(&self, version: SpecVersion) -> Value {
        let mut fields = self.fields.clone();
        if version < SpecVersion::V1_0_0 {
            let family = if matches!(self.address, IpNet::V4(_)) { "4" } else { "6" };
            fields.insert("version".to_owned(), family.into());
        } else {
            fields.remove("version");
        }
        Value::Object(fields)
    }
}

fn object<'a>(key: &str, value: &'a Value) -> Result<&'a Map<String, Value>, CniError> {
    value.as_object().ok_or_else(|| field(key, value, "expected an object"))
}

/// What is not there and what is null is empty: Go writes both for an empty list.
fn list(key: &str, value: Option<Value>) -> Result<Vec<Value>, CniError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(field(key, &other, "expected a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment() -> Attachment {
        Attachment { container: "vm-1".into(), ifname: "eth0".parse().unwrap() }
    }

    fn chained() -> Value {
        json!({
            "cniVersion": "0.4.0",
            "interfaces": [
                { "name": "veth1", "mac": "02:00:00:00:00:01" },
                { "name": "eth0", "mac": "02:00:00:00:00:05", "sandbox": "/run/netns/p" },
            ],
            "ips": [
                { "version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1 },
                { "version": "6", "address": "fd00::5/64", "interface": 1 },
                { "version": "4", "address": "10.9.0.1/16", "interface": 0 },
            ],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dns": { "nameservers": ["10.1.0.1"] },
            "somebodys": { "own": true },
        })
    }

    #[test]
    fn what_was_handed_to_us_is_handed_on() {
        assert_eq!(CniResult::decode(&chained()).unwrap().encode(SpecVersion::V0_4_0), chained());
    }

    #[test]
    fn addresses_carry_their_family_before_1_0_and_not_after() {
        let result = CniResult::decode(&chained()).unwrap();
        let newer = result.encode(SpecVersion::V1_0_0);
        assert!(newer["ips"].as_array().unwrap().iter().all(|ip| ip.get("version").is_none()), "{newer}");
        let back = CniResult::decode(&newer).unwrap().encode(SpecVersion::V0_3_1);
        assert_eq!((&back["ips"], &back["cniVersion"]), (&chained()["ips"], &json!("0.3.1")));
    }

    #[test]
    fn a_vm_gets_the_addresses_of_its_pod_link_and_no_others() {
        let pair = VmPair { tap: "tap0", tap_mac: "02:aa", guest_mac: "02:bb", mtu: 1450 };
        let mut result = CniResult::decode(&chained()).unwrap();
        result.add_vm(&attachment(), Path::new("/run/netns/p"), &pair);
        let json = result.encode(SpecVersion::V1_1_0);
        let expected = json!([
            { "name": "tap0", "mac": "02:aa", "mtu": 1450, "sandbox": "/run/netns/p" },
            { "name": "tap0", "mac": "02:bb", "mtu": 1450, "sandbox": "vm-1" },
        ]);
        assert_eq!(json["interfaces"].as_array().unwrap()[2..], expected.as_array().unwrap()[..]);
        let of_vm: Vec<_> =
            json["ips"].as_array().unwrap().iter().filter(|ip| ip["interface"] == 3).collect();
        assert_eq!(
            of_vm,
            [
                &json!({ "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 3 }),
                &json!({ "address": "fd00::5/64", "interface": 3 }),
            ]
        );
        // The MTU came with 1.1.0.
        assert_eq!(result.encode(SpecVersion::V1_0_0)["interfaces"][2].get("mtu"), None);
    }

    #[test]
    fn an_address_without_an_interface_is_the_attachment_s() {
        let result = json!({ "ips": [{ "address": "10.1.0.5/16" }] });
        let result = CniResult::decode(&result).unwrap();
        let addresses: Vec<_> = result.addresses(&attachment(), Path::new("/run/netns/p")).collect();
        assert_eq!(addresses, ["10.1.0.5/16".parse::<IpNet>().unwrap()]);
    }

    #[test]
    fn what_is_no_result_is_refused_by_its_place() {
        for (value, word) in [
            (json!([]), "`prevResult` = []: expected an object"),
            (json!({ "interfaces": {} }), "`prevResult.interfaces`"),
            (json!({ "interfaces": [{ "mac": 5 }] }), "`prevResult.interfaces.mac` = 5: expected a text"),
            (json!({ "ips": [{ "address": "10.1.0.5" }] }), "expected an address as in"),
            (
                json!({ "ips": [{ "address": "10.1.0.5/8", "interface": 0 }] }),
                "`prevResult.ips.interface` = 0",
            ),
            (
                json!({ "ips": [{ "address": "10.1.0.5/8", "interface": -1 }] }),
                "`prevResult.ips.interface` = -1",
            ),
        ] {
            let error = CniResult::decode(&value).unwrap_err().to_string();
            assert!(error.contains(word), "{error} should say {word}");
        }
    }

    #[test]
    fn an_address_in_capitals_is_the_same() {
        let result =
            CniResult::decode(&json!({ "interfaces": [{ "name": "a", "mac": "0A:00:00:00:00:0b" }] }));
        let result = result.unwrap();
        assert!(result.interface("a", "").is_some_and(|one| one.has_mac("0a:00:00:00:00:0B")));
        assert!(!result.interface("a", "").is_some_and(|one| one.has_mac("0a:00:00:00:00:0c")));
    }
}
