// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VirtualMachineInstance as far as its network goes, from the JSON that virt-handler sends.
//!
//! Its author is a tenant. What is not looked at may be anything; what is, has its type or is refused by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A VM that runs, or is to run (staging/src/kubevirt.io/api/core/v1/types.go).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Vmi {
    /// Who it is.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// What its owner wants.
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    /// What KubeVirt has made of it.
    #[serde(deserialize_with = "or_default")]
    pub status: Status,
}

/// `ObjectMeta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Kubernetes's")]
pub struct Metadata {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// `VirtualMachineInstanceSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// The machine.
    #[serde(deserialize_with = "or_default")]
    pub domain: Domain,
    /// What its interfaces are connected to, by the same names.
    #[serde(deserialize_with = "or_default")]
    pub networks: Vec<Network>,
}

/// `DomainSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Domain {
    /// Its processors.
    #[serde(deserialize_with = "or_default")]
    pub cpu: Cpu,
    /// Its devices.
    #[serde(deserialize_with = "or_default")]
    pub devices: Devices,
}

/// `CPU`: a number that is not given counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are KubeVirt's")]
pub struct Cpu {
    #[serde(deserialize_with = "or_default")]
    pub cores: u32,
    #[serde(deserialize_with = "or_default")]
    pub sockets: u32,
    #[serde(deserialize_with = "or_default")]
    pub threads: u32,
}

/// `Devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Devices {
    /// Whether cards of the model virtio have a queue for each processor.
    #[serde(deserialize_with = "or_default")]
    pub network_interface_multiqueue: bool,
    /// Its cards.
    #[serde(deserialize_with = "or_default")]
    pub interfaces: Vec<Interface>,
}

/// `Interface`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Interface {
    /// The name of its network, too.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// `virtio` when empty.
    #[serde(deserialize_with = "or_default")]
    pub model: String,
    /// Empty for the pod link's.
    #[serde(deserialize_with = "or_default")]
    pub mac_address: String,
    /// The binding plugin that connects it.
    pub binding: Option<Binding>,
    /// KubeVirt's own binding by a bridge.
    pub bridge: Option<Empty>,
    /// What it is told by DHCP besides.
    pub dhcp_options: Option<DhcpOptions>,
    /// `absent` for one that is to go.
    #[serde(deserialize_with = "or_default")]
    pub state: String,
}

/// An object that stands for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Empty {}

/// `PluginBinding`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// Its name in the KubeVirt resource.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// `DHCPOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DhcpOptions {
    /// Option 67.
    #[serde(deserialize_with = "or_default")]
    pub boot_file_name: String,
    /// Option 66.
    #[serde(deserialize_with = "or_default")]
    pub tftp_server_name: String,
    /// Option 42.
    #[serde(deserialize_with = "or_default")]
    pub ntp_servers: Vec<String>,
    /// Options 224 to 254.
    #[serde(deserialize_with = "or_default")]
    pub private_options: Vec<PrivateOption>,
}

/// `DHCPPrivateOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PrivateOption {
    /// Its code.
    #[serde(deserialize_with = "or_default")]
    pub option: u32,
    /// Its value, as text.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
}

/// `Network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Its name, by which interfaces refer to it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The pod's own network.
    pub pod: Option<Empty>,
    /// One of Multus's.
    pub multus: Option<Multus>,
}

/// `MultusNetwork`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Multus {
    /// Whether it takes the place of the pod's own.
    #[serde(deserialize_with = "or_default")]
    pub default: bool,
}

/// `VirtualMachineInstanceStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Launcher pods by UID, with the node that each runs on.
    #[serde(deserialize_with = "or_default")]
    pub active_pods: BTreeMap<String, String>,
    /// Cards that run, or ran before a migration.
    #[serde(deserialize_with = "or_default")]
    pub interfaces: Vec<InterfaceStatus>,
}

/// `VirtualMachineInstanceNetworkInterface`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InterfaceStatus {
    /// The interface's name in the spec.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its MAC.
    #[serde(deserialize_with = "or_default")]
    pub mac: String,
    /// Its queues.
    #[serde(deserialize_with = "or_default")]
    pub queue_count: i32,
    /// The pod link that it belongs to, where that is not the one of KubeVirt's scheme.
    #[serde(deserialize_with = "or_default")]
    pub pod_interface_name: String,
}

/// JSON that is no VMI.
#[derive(Debug, thiserror::Error)]
#[error("the VMI is not one that netagent can read")]
pub struct NotAVmi(#[source] serde_json::Error);

impl Vmi {
    /// Reads what virt-handler sends.
    ///
    /// # Errors
    /// When it is no JSON, nested too deeply, or a field that matters has another type.
    pub fn read(json: &[u8]) -> Result<Self, NotAVmi> {
        serde_json::from_slice(json).map_err(NotAVmi)
    }

    /// The pods of the VM on a node, by UID.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a str> {
        self.status.active_pods.iter().filter(move |(_, on)| *on == node).map(|(uid, _)| uid.as_str())
    }

    /// As kubectl's users write it.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name).escape_debug().take(256).collect()
    }
}

/// `null` stands for nothing, as Go writes a list that it has not.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A VM with one interface of ours, one of KubeVirt's and one of another plugin, as the API server keeps it.
    pub(crate) const VMI: &str = include_str!("vmi.json");

    #[test]
    fn a_vmi_is_read_whatever_else_it_says() {
        let vmi = Vmi::read(VMI.as_bytes()).unwrap();
        assert_eq!(vmi.shown(), "shop/db");
        assert_eq!(vmi.spec.domain.devices.interfaces.len(), 3);
        assert_eq!(vmi.pods_on("node01").collect::<Vec<_>>(), ["4c1f9c52-5a1f-4e0e-8f0e-3c6a7d2b9e10"]);
        assert_eq!(vmi.pods_on("node09").count(), 0);
        assert_eq!(Vmi::read(b"{}").unwrap(), Vmi::default());
        let nulls = br#"{"spec":{"networks":null,"domain":{"cpu":null}},"status":{"activePods":null}}"#;
        assert_eq!(Vmi::read(nulls).unwrap(), Vmi::default());
    }

    #[test]
    fn what_is_no_vmi_is_refused_and_never_a_panic() {
        let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        for text in [
            "",
            "null null",
            "7",
            r#"{"spec":7}"#,
            r#"{"status":{"activePods":{"a":1}}}"#,
            r#"{"spec":{"domain":{"cpu":{"cores":-1}}}}"#,
            r#"{"spec":{"domain":{"cpu":{"cores":4294967296}}}}"#,
            r#"{"metadata":{"name":"\ud800"}}"#,
            &format!(r#"{{"other":{deep}}}"#),
        ] {
            let error = Vmi::read(text.as_bytes()).unwrap_err();
            assert!(std::error::Error::source(&error).is_some());
        }
        // Cut anywhere, it is refused.
        for end in 0..VMI.trim_end().len() {
            assert!(Vmi::read(&VMI.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}
