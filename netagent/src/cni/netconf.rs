// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration on standard input: the keys that CNI gives a meaning, and which others there are.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{CniError, CniResult, SpecVersion, environment::is_identifier};
use crate::config::USUAL_SOCKET;

/// Most bytes that are read. A chain of plugins for a pod with a hundred interfaces has a tenth of it.
pub const LIMIT: u64 = 1 << 20;

/// Keys of the specification (1.1.0, sections 1 and 3) that may stand in a plugin's configuration. `cni.dev/` begins more.
const CNI_KEYS: [&str; 14] = [
    "args",
    "capabilities",
    "cniVersion",
    "cniVersions",
    "disableCheck",
    "disableGC",
    "dns",
    "ipam",
    "ipMasq",
    "loadOnlyInlinedPlugins",
    "name",
    "prevResult",
    "runtimeConfig",
    "type",
];
const RESERVED_PREFIX: &str = "cni.dev/";
/// In the specification, and in an edition of it that runtimes were written by.
const VALID_ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// The configuration of one call. What it says to netagent is read by [`Wishes`](super::Wishes), since some commands must
/// not fail over it.
#[derive(Clone, Debug)]
pub struct NetConf {
    /// `cniVersion`.
    pub version: SpecVersion,
    /// Name of the network.
    pub name: String,
    /// Name of the plugin: that of the file that was called.
    pub plugin: String,
    /// `args.cni.logicNetworkName`: KubeVirt's name of the network for which its binding plugin is called.
    pub logic_network: Option<String>,
    fields: Map<String, Value>,
}

impl NetConf {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no configuration, or not of a version that is spoken.
    pub fn decode(text: &[u8]) -> Result<Self, CniError> {
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > LIMIT {
            return Err(CniError::TooLong { limit: LIMIT });
        }
        let fields: Map<String, Value> = serde_json::from_slice(text).map_err(CniError::Decode)?;
        let version = match text_of(&fields, "cniVersion")? {
            Some(text) => text.parse()?,
            // What has no version is of the first one.
            None => return Err(CniError::Version { asked: String::new() }),
        };
        let name = text_of(&fields, "name")?.ok_or(CniError::Missing {
            key: "name",
            why: "the network's name stands in its configuration",
        })?;
        if !is_identifier(name) {
            let why = "letters, digits, `_`, `.` and `-` after a letter or digit make the name of a network";
            return Err(CniError::Field {
                key: "name".to_owned(),
                value: name.to_owned(),
                why: why.to_owned(),
            });
        }
        let logic_network = fields
            .get("args")
            .and_then(|args| args.get("cni"))
            .and_then(|cni| cni.get("logicNetworkName"))
            .map(|name| {
                let text = name.as_str().filter(|text| !text.is_empty() && text.len() <= LONGEST_NETWORK);
                text.map(str::to_owned)
                    .ok_or_else(|| field("args.cni.logicNetworkName", name, "expected a VM network's name"))
            })
            .transpose()?;
        Ok(Self {
            version,
            name: name.to_owned(),
            plugin: text_of(&fields, "type")?.unwrap_or_default().to_owned(),
            logic_network,
            fields,
        })
    }

    /// The fields that are not CNI's.
    pub fn foreign_fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let is_cnis = |key: &str| CNI_KEYS.contains(&key) || key.starts_with(RESERVED_PREFIX);
        self.fields.iter().map(|(key, value)| (key.as_str(), value)).filter(move |(key, _)| !is_cnis(key))
    }

    /// The agent's socket. What is no path is passed over: a DEL with a configuration that no ADD was served with must
    /// still get to the agent.
    pub fn socket(&self) -> PathBuf {
        let given = self.fields.get("socket").and_then(Value::as_str).map(Path::new);
        given.filter(|path| path.is_absolute()).unwrap_or(Path::new(USUAL_SOCKET)).to_owned()
    }

    /// `prevResult`: of the plugin before this one, or with CHECK of the whole chain.
    ///
    /// # Errors
    /// When it is no result.
    pub fn previous(&self) -> Result<Option<CniResult>, CniError> {
        match self.fields.get("prevResult") {
            None | Some(Value::Null) => Ok(None),
            Some(result) => CniResult::decode(result).map(Some),
        }
    }

    /// The container ids and interface names that the runtime still knows.
    ///
    /// # Errors
    /// When there is no list. An absent one is not an empty one: a runtime that forgets to say what it has must not lose
    /// all of it.
    pub fn valid_attachments(&self) -> Result<BTreeSet<(String, String)>, CniError> {
        let [key, earlier] = VALID_ATTACHMENTS;
        let (key, value) = match (self.fields.get(key), self.fields.get(earlier)) {
            (Some(list), _) => (key, list),
            (None, Some(list)) => (earlier, list),
            (None, None) => {
                return Err(CniError::Missing { key, why: "the runtime says with it what it still has" });
            }
        };
        let one = |item: &Value| {
            let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
            text("containerID").zip(text("ifname"))
        };
        let list = value.as_array().and_then(|items| items.iter().map(one).collect());
        list.ok_or_else(|| field(key, value, "expected a list of objects with containerID and ifname"))
    }
}

/// Kubernetes allows a VM's network 63; the hash takes any length.
const LONGEST_NETWORK: usize = 253;

fn text_of<'a>(fields: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, CniError> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(field(key, other, "expected a text")),
    }
}

/// A value that cannot be used.
pub(super) fn field(key: impl Into<String>, value: &Value, why: impl Into<String>) -> CniError {
    CniError::Field { key: key.into(), value: value.to_string(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(more: &str) -> NetConf {
        NetConf::decode(format!(r#"{{"cniVersion":"1.1.0","name":"n"{more}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn a_list_that_is_not_there_is_not_an_empty_one() {
        assert!(matches!(conf("").valid_attachments(), Err(CniError::Missing { .. })));
        for key in VALID_ATTACHMENTS {
            assert_eq!(conf(&format!(r#","{key}":[]"#)).valid_attachments().unwrap(), BTreeSet::new());
            let one = format!(r#","{key}":[{{"containerID":"a","ifname":"eth0"}}]"#);
            assert_eq!(
                conf(&one).valid_attachments().unwrap(),
                BTreeSet::from([("a".into(), "eth0".into())])
            );
            for bad in ["{}", "null", r#"[{"containerID":"a"}]"#] {
                let list = conf(&format!(r#","{key}":{bad}"#)).valid_attachments();
                assert!(matches!(list, Err(CniError::Field { .. })), "{bad}");
            }
        }
    }

    #[test]
    fn cni_s_keys_pass_and_a_socket_that_is_no_path_is_the_usual_one() {
        let mixed = conf(r#","type":"x","ipam":{},"cni.dev/z":1,"runtimeConfig":{},"tap":"t","bridge":"b""#);
        assert_eq!(mixed.foreign_fields().map(|(key, _)| key).collect::<Vec<_>>(), ["bridge", "tap"]);
        assert_eq!(mixed.socket(), Path::new(USUAL_SOCKET));
        assert_eq!(conf(r#","socket":"x""#).socket(), Path::new(USUAL_SOCKET));
        assert_eq!(conf(r#","socket":"/x""#).socket(), Path::new("/x"));
    }
}
