// SPDX-License-Identifier: MIT OR Apache-2.0
//! An object against its type: Kubernetes' clients pass over fields that they do not know, so an object is read, written
//! again, and must be what it was.

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Namespace},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use serde_json::Value;

use super::rendered::{extensions, objects};

/// Reads one object strictly.
pub(super) fn check(object: &Value) -> Result<()> {
    let text = |field: &str| object[field].as_str().with_context(|| format!("no {field} in {object}"));
    match (text("apiVersion")?, text("kind")?) {
        ("v1", "Namespace") => same::<Namespace>(object),
        ("v1", "ConfigMap") => same::<ConfigMap>(object),
        ("apps/v1", "DaemonSet") => same::<DaemonSet>(object),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => same::<HorizontalPodAutoscaler>(object),
        (version, kind) => extensions::check(version, kind, object),
    }
    .with_context(|| format!("{} {}", object["kind"], object["metadata"]["name"]))
}

fn same<T: DeserializeOwned + Serialize>(object: &Value) -> Result<()> {
    let read: T = serde_json::from_value(object.clone()).context("it is not of its type")?;
    let written = serde_json::to_value(read).context("it cannot be written again")?;
    match difference(object, &written, "") {
        Some(path) => bail!("{path} is no field of its type"),
        None => Ok(()),
    }
}

/// Where something of `given` is not in `kept`. Numbers and texts may be the same quantity spelt differently.
pub(super) fn difference(given: &Value, kept: &Value, path: &str) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match kept.get(name) {
                Some(same) => difference(value, same, &path),
                // Empty lists and objects need not be written again.
                None => (!is_empty(value)).then_some(path),
            }
        }),
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => given
            .iter()
            .zip(kept)
            .enumerate()
            .find_map(|(n, (a, b))| difference(a, b, &format!("{path}[{n}]"))),
        (given, kept) => (given != kept).then(|| path.to_owned()),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_object().is_some_and(|o| o.is_empty())
        || value.as_array().is_some_and(Vec::is_empty)
}

/// Sets the value at a path as in `/spec/template`, which may be a new field.
fn set(object: &mut Value, parent: &str, field: &str, value: Value) -> Result<()> {
    let parent = object.pointer_mut(parent).ok_or_else(|| anyhow!("no {parent}"))?;
    parent[field] = value;
    Ok(())
}

#[test]
fn a_misspelt_field_is_found_wherever_it_is() {
    let rendered = objects("deploy");
    let daemon_set = rendered.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    check(daemon_set).unwrap();
    let pod = "/spec/template/spec";
    for (parent, field, value) in [
        ("/spec".to_owned(), "updateStrategie", Value::from("x")),
        (pod.to_owned(), "hostNetwrok", true.into()),
        (format!("{pod}/containers/0"), "volumeMount", serde_json::json!([{ "name": "x" }])),
        (format!("{pod}/containers/0/securityContext"), "privilegded", false.into()),
        (format!("{pod}/containers/0/livenessProbe/httpGet"), "pth", "/".into()),
        (format!("{pod}/volumes/0"), "hostPaht", serde_json::json!({ "path": "/" })),
        // The right name with a value of another type.
        (pod.to_owned(), "hostPID", "yes".into()),
    ] {
        let mut odd = daemon_set.clone();
        set(&mut odd, &parent, field, value).unwrap();
        let error = format!("{:#}", check(&odd).unwrap_err());
        assert!(error.contains(field) || error.contains("not of its type"), "{error}");
    }
    let mut unknown = daemon_set.clone();
    unknown["apiVersion"] = "apps/v2".into();
    assert!(check(&unknown).is_err());
}
