// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `kubectl kustomize` makes of the folders below deploy/, and what must hold for it as a whole.

pub(super) mod extensions;

use std::{collections::BTreeSet, path::PathBuf, process::Command, time::Duration};

use anyhow::Context as _;
use netagent_tests::{
    image::programs::{Release, Unpacked},
    process::run_ok,
};
use serde_json::Value;

use super::strict;
use crate::monitoring::file;

const RENDER: Duration = Duration::from_secs(60);
/// Every folder that is a kustomization.
const FOLDERS: [&str; 7] = [
    "deploy",
    "deploy/kubevirt",
    "deploy/runtimes/containerd",
    "deploy/runtimes/crio",
    "deploy/monitoring",
    "deploy/grafana",
    "deploy/examples/hpa",
];
/// Those with an agent, the plain one first.
const AGENTS: [&str; 4] = ["deploy", "deploy/kubevirt", "deploy/runtimes/containerd", "deploy/runtimes/crio"];

/// The objects of a folder, as kubectl renders them.
pub(crate) fn objects(folder: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    read(&run_ok(Command::new(kubectl()).arg("kustomize").arg(path), RENDER).unwrap())
}

/// The machine's kubectl, or the newest of Debian's where that is older than kustomize's folders as resources (1.21).
fn kubectl() -> PathBuf {
    let own = || {
        let asked =
            run_ok(Command::new("kubectl").args(["version", "--client", "-o", "json"]), RENDER).ok()?;
        let version: Value = serde_json::from_str(&asked).ok()?;
        let minor: u32 = version["clientVersion"]["minor"].as_str()?.trim_end_matches('+').parse().ok()?;
        (minor >= 21).then(|| PathBuf::from("kubectl"))
    };
    let debian =
        || Unpacked::of(&["kubectl"], Release::Sid).and_then(|package| package.program("usr/bin/kubectl"));
    own().unwrap_or_else(|| debian().unwrap())
}

fn read(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).with_context(|| yaml.to_owned()).unwrap()
}

fn agents() -> Vec<Value> {
    let all = AGENTS.into_iter().flat_map(objects);
    all.filter(|object| object["kind"] == "DaemonSet").collect()
}

fn strings<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs kubectl: cargo xtask test netns"]
fn everything_renders_and_is_of_its_type() {
    for folder in FOLDERS {
        let objects = objects(folder);
        assert!(!objects.is_empty(), "{folder}");
        for object in &objects {
            strict::check(object).unwrap_or_else(|e| panic!("{folder}: {e:#}"));
        }
    }
    for snippet in ["cr.yaml", "nad.yaml", "plugin.yaml"] {
        for object in read(&file(&format!("deploy/kubevirt/snippets/{snippet}"))) {
            strict::check(&object).unwrap_or_else(|e| panic!("{snippet}: {e:#}"));
        }
    }
}

#[test]
#[ignore = "needs kubectl: cargo xtask test netns"]
fn the_agent_s_pod_fits_together() {
    let version = env!("CARGO_PKG_VERSION");
    let agents = agents();
    for set in &agents {
        assert_eq!(set["metadata"]["namespace"], "netagent");
        let pod = &set["spec"]["template"]["spec"];
        let volumes: BTreeSet<_> = strings(&pod["volumes"], "name").into_iter().collect();
        let mut mounted = BTreeSet::new();
        for container in
            pod["initContainers"].as_array().unwrap().iter().chain(pod["containers"].as_array().unwrap())
        {
            // The image that `cargo xtask image` makes of this very source.
            assert_eq!(container["image"], format!("localhost/netagent:{version}"));
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(container["securityContext"]["capabilities"]["drop"], serde_json::json!(["ALL"]));
            mounted.extend(strings(&container["volumeMounts"], "name"));
        }
        assert_eq!(mounted, volumes);
        for label in set["spec"]["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(set["spec"]["template"]["metadata"]["labels"][label.0], *label.1);
        }
        // The generated name of the configuration went where it is mounted.
        let config =
            pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "config").unwrap();
        assert!(config["configMap"]["name"].as_str().unwrap().starts_with("netagent-"), "{config}");
    }
    let [base, kubevirt, containerd, crio] = agents.as_slice() else { panic!("another number of agents") };
    let capabilities = |set: &Value| {
        let context = &set["spec"]["template"]["spec"]["containers"][0]["securityContext"];
        serde_json::from_value::<BTreeSet<String>>(context["capabilities"]["add"].clone()).unwrap()
    };
    let more: Vec<_> = capabilities(kubevirt).difference(&capabilities(base)).cloned().collect();
    assert_eq!(more, ["DAC_OVERRIDE"]);
    assert!(capabilities(base).is_subset(&capabilities(kubevirt)));
    for runtime in [containerd, crio] {
        assert_eq!(capabilities(base), capabilities(runtime));
    }
}

#[test]
#[ignore = "needs kubectl: cargo xtask test netns"]
fn the_agent_reads_its_configuration_and_serves_where_it_is_asked() {
    for folder in AGENTS {
        let rendered = objects(folder);
        let of = |kind: &str| rendered.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
        let [map] = of("ConfigMap")[..] else {
            unreachable!("{folder} has another number of configurations")
        };
        let text = map["data"]["netagent.toml"].as_str().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netagent.toml");
        std::fs::write(&path, text).unwrap();
        let agent = netagent_tests::agent::binary().unwrap();
        // The agent itself checks it: an unknown key or a value out of bounds is refused.
        let mut check = Command::new(agent);
        let check = run_ok(check.args(["config", "check", "-o", "json"]).arg(&path), RENDER).unwrap();
        let config: Value = serde_json::from_str(&check).unwrap();
        let agent = &of("DaemonSet")[0]["spec"]["template"]["spec"]["containers"][0];
        let port = agent["ports"][0]["containerPort"].as_u64().unwrap();
        assert!(config["metrics"].as_str().unwrap().ends_with(&format!(":{port}")), "{config}");
        let mounts = strings(&agent["volumeMounts"], "mountPath");
        let is_mounted = |path: &Value| mounts.iter().any(|mount| path.as_str().unwrap().starts_with(mount));
        assert!(is_mounted(&config["bpffs"]) && is_mounted(&config["socket"]), "{config}");
        let hooks = &config["kubevirt"]["hooks"];
        assert_eq!(hooks.is_string(), folder == "deploy/kubevirt", "{config}");
        assert!(hooks.is_null() || is_mounted(hooks), "{config}");
        for source in ["cri", "nri"] {
            let socket = &config[source]["socket"];
            assert_eq!(socket.is_string(), folder.starts_with("deploy/runtimes"), "{config}");
            assert!(socket.is_null() || is_mounted(socket), "{config}");
        }
    }
}

#[test]
#[ignore = "needs kubectl: cargo xtask test netns"]
fn the_operator_s_rules_are_prometheus_s() {
    let rules =
        objects("deploy/monitoring").into_iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let plain = read(&file("deploy/prometheus/rules.yaml"));
    assert_eq!(rules["spec"], plain[0]);
}

#[test]
#[ignore = "needs Debian's package prometheus: cargo xtask test netns"]
fn alerts_fire_when_they_should_and_not_before() {
    let promtool = Unpacked::of(&["prometheus"], Release::Own).unwrap().program("usr/bin/promtool").unwrap();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    run_ok(Command::new(&promtool).args(["check", "rules", "rules.yaml"]).current_dir(&folder), RENDER)
        .unwrap();
    run_ok(Command::new(&promtool).args(["test", "rules", "tests.yaml"]).current_dir(&folder), RENDER)
        .unwrap();
}
