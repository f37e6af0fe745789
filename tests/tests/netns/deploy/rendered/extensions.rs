// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects of what extends Kubernetes: the fields that our manifests use, as their projects define them. Any other is
//! refused.

#![expect(dead_code, reason = "fields are there to be known, not to be read")]

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::super::strict::difference;

/// Reads one object strictly.
pub(in super::super) fn check(version: &str, kind: &str, object: &Value) -> Result<()> {
    let spec = object["spec"].clone();
    standard::<ObjectMeta>(&object["metadata"])?;
    match (version, kind) {
        ("monitoring.coreos.com/v1", "PodMonitor") => {
            standard::<LabelSelector>(&spec["selector"])?;
            strict::<PodMonitor>(spec)
        }
        ("monitoring.coreos.com/v1", "PrometheusRule") => strict::<PrometheusRule>(spec),
        ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition") => {
            let config = strict_value::<Attachment>(spec)?.config;
            let config: Value = serde_json::from_str(&config).context("its configuration is not JSON")?;
            if config["type"] == "netagent" && config["cniVersion"].is_string() && config["name"].is_string()
            {
                Ok(())
            } else {
                bail!("{config} is no configuration of netagent")
            }
        }
        ("kubevirt.io/v1", "KubeVirt") => strict::<KubeVirt>(spec),
        ("plugin.kubevirt.io/v1alpha1", "Plugin") => strict::<Plugin>(spec),
        ("pool.kubevirt.io/v1beta1" | "pool.kubevirt.io/v1alpha1", "VirtualMachinePool") => {
            standard::<LabelSelector>(&spec["selector"])?;
            strict::<Pool>(spec)
        }
        _ => bail!("{version} {kind} is not known here"),
    }
}

fn standard<T: DeserializeOwned + serde::Serialize>(value: &Value) -> Result<()> {
    let read: T = serde_json::from_value(value.clone())?;
    match difference(value, &serde_json::to_value(read)?, "") {
        Some(path) => bail!("{path} is no field of its type"),
        None => Ok(()),
    }
}

fn strict<T: DeserializeOwned>(spec: Value) -> Result<()> {
    strict_value::<T>(spec).map(drop)
}

fn strict_value<T: DeserializeOwned>(spec: Value) -> Result<T> {
    serde_json::from_value(spec).context("it is not of its type")
}

/// Structs whose fields are all that there is, spelt as in JSON.
macro_rules! known {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct $name { $($field: $type),* }
    )*};
}

known! {
    PodMonitor { selector: Value, pod_metrics_endpoints: Vec<Endpoint> }
    Endpoint { port: String, path: String, interval: String, relabelings: Vec<Relabel> }
    Relabel { source_labels: Vec<String>, target_label: String, action: String }

    PrometheusRule { groups: Vec<Group> }
    Group { name: String, rules: Vec<Rule> }
    Rule {
        record: Option<String>,
        alert: Option<String>,
        expr: String,
        r#for: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
    }

    Attachment { config: String }

    KubeVirt { configuration: Configuration }
    Configuration { network: Network, developer_configuration: Option<Developer> }
    Developer { feature_gates: Vec<String> }
    Network { binding: BTreeMap<String, Binding> }
    Binding { domain_attachment_type: String, migration: Option<Empty>, network_attachment_definition: Option<String> }
    Empty {}

    Plugin { condition: String, node_hooks: Vec<NodeHook> }
    NodeHook { socket: String, permitted_hooks: Vec<String>, failure_strategy: String, timeout: String }

    Pool { replicas: Option<u32>, selector: Value, virtual_machine_template: MachineTemplate }
    MachineTemplate { metadata: Labels, spec: Machine }
    Labels { labels: BTreeMap<String, String> }
    Machine { run_strategy: String, template: InstanceTemplate }
    InstanceTemplate { metadata: Labels, spec: Instance }
    Instance { domain: Domain, networks: Vec<PodNetwork>, volumes: Vec<Volume>, termination_grace_period_seconds: u32 }
    PodNetwork { name: String, pod: Empty }
    Volume { name: String, container_disk: ContainerDisk }
    ContainerDisk { image: String }
    Domain { memory: Memory, cpu: Cpu, devices: Devices }
    Memory { guest: String }
    Cpu { cores: u32 }
    Devices { disks: Vec<Disk>, interfaces: Vec<Interface> }
    Disk { name: String, disk: Bus }
    Bus { bus: String }
    Interface { name: String, binding: BindingName }
    BindingName { name: String }
}

#[test]
fn a_field_that_their_projects_do_not_have_is_refused() {
    let mut rule = serde_json::json!({
        "metadata": { "name": "x" },
        "spec": { "groups": [{ "name": "g", "rules": [{ "alert": "A", "expr": "up == 0", "for": "5m" }] }] },
    });
    let check = |rule: &Value| check("monitoring.coreos.com/v1", "PrometheusRule", rule);
    check(&rule).unwrap();
    rule["spec"]["groups"][0]["rules"][0]["fro"] = "5m".into();
    assert!(format!("{:#}", check(&rule).unwrap_err()).contains("unknown field `fro`"));
    rule["spec"]["groups"] = serde_json::json!([]);
    check(&rule).unwrap();
    rule["metadata"]["labls"] = serde_json::json!({ "a": "b" });
    assert!(format!("{:#}", check(&rule).unwrap_err()).contains(".labls"));
}
