// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a sandbox's network is, from what a runtime adds to a verbose status: containerd and CRI-O both put a JSON
//! document with the sandbox's runtime spec there, under `info`.

use serde::Deserialize;

use super::v1;
use crate::discovery::{Whereabouts, sandbox::in_run};

/// The key of the document.
const KEY: &str = "info";

/// The document, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    pid: u32,
    runtime_spec: Option<RuntimeSpec>,
}

/// An OCI runtime spec, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeSpec {
    hostname: String,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mount {
    destination: String,
    source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Linux {
    namespaces: Vec<Namespace>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    r#type: String,
    path: String,
}

/// Where the network of a sandbox with this status is.
///
/// # Errors
/// When the document is no such document.
pub(super) fn whereabouts(status: &v1::PodSandboxStatusResponse) -> Result<Whereabouts, serde_json::Error> {
    let mode =
        || Some(status.status.as_ref()?.linux.as_ref()?.namespaces.as_ref()?.options.as_ref()?.network());
    if mode() == Some(v1::NamespaceMode::Node) {
        return Ok(Whereabouts::Node);
    }
    let Some(text) = status.info.get(KEY) else { return Ok(Whereabouts::Unknown) };
    let Document { pid, runtime_spec: Some(spec) } = serde_json::from_str(text)? else {
        return Ok(Whereabouts::Unknown);
    };
    let Some(network) = spec.linux.namespaces.iter().find(|namespace| namespace.r#type == "network") else {
        // A sandbox whose spec has no network namespace of its own stays in the node's.
        return Ok(Whereabouts::Node);
    };
    let netns = match (network.path.as_str(), pid) {
        // Made by the runtime below with the sandbox's process, and found by it alone.
        ("", 0) => return Ok(Whereabouts::Unknown),
        ("", pid) => format!("/proc/{pid}/ns/net").into(),
        (path, _) => in_run(path),
    };
    let mounted = spec.mounts.iter().find(|mount| mount.destination == "/etc/resolv.conf");
    Ok(Whereabouts::Pod {
        netns,
        pid,
        resolv_conf: mounted.filter(|mount| mount.source.starts_with('/')).map(|mount| in_run(&mount.source)),
        hostname: Some(spec.hostname).filter(|name| !name.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(info: &str) -> v1::PodSandboxStatusResponse {
        v1::PodSandboxStatusResponse { status: None, info: [(KEY.to_owned(), info.to_owned())].into() }
    }

    fn read(info: &str) -> Whereabouts {
        whereabouts(&status(info)).unwrap()
    }

    /// Cut from what containerd 1.6.20 answers.
    const CONTAINERD: &str = r#"{"pid": 4242, "processStatus": "running", "netNamespaceClosed": false, "runtimeSpec":
        {"ociVersion": "1.0.2-dev", "hostname": "vm", "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
         {"destination": "/etc/resolv.conf", "type": "bind",
          "source": "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ab/resolv.conf"}],
         "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
          {"type": "network", "path": "/var/run/netns/cni-6f"}]}}}"#;

    #[test]
    fn containerd_tells_by_the_sandbox_s_spec() {
        let expected = Whereabouts::Pod {
            netns: "/run/netns/cni-6f".into(),
            pid: 4242,
            resolv_conf: Some(
                "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/ab/resolv.conf".into(),
            ),
            hostname: Some("vm".into()),
        };
        assert_eq!(read(CONTAINERD), expected);
    }

    #[test]
    fn cri_o_tells_the_same_with_fewer_fields() {
        let info = r#"{"image": "pause", "pid": 7, "runtimeSpec": {"linux": {"namespaces":
            [{"type": "network", "path": "/var/run/netns/8c"}, {"type": "mount"}]}}}"#;
        let expected =
            Whereabouts::Pod { netns: "/run/netns/8c".into(), pid: 7, resolv_conf: None, hostname: None };
        assert_eq!(read(info), expected);
    }

    #[test]
    fn a_namespace_without_a_path_is_its_process_s() {
        let info = |pid| {
            format!(
                r#"{{"pid": {pid}, "runtimeSpec": {{"linux": {{"namespaces": [{{"type": "network"}}]}}}}}}"#
            )
        };
        let expected =
            Whereabouts::Pod { netns: "/proc/7/ns/net".into(), pid: 7, resolv_conf: None, hostname: None };
        assert_eq!(read(&info(7)), expected);
        assert_eq!(read(&info(0)), Whereabouts::Unknown);
    }

    #[test]
    fn the_node_s_network_is_known_by_mode_and_by_spec() {
        assert_eq!(
            read(r#"{"runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}]}}}"#),
            Whereabouts::Node
        );
        let options = v1::NamespaceOption { network: v1::NamespaceMode::Node.into() };
        let linux = v1::LinuxPodSandboxStatus { namespaces: Some(v1::Namespace { options: Some(options) }) };
        let node = v1::PodSandboxStatusResponse {
            status: Some(v1::PodSandboxStatus { linux: Some(linux), ..v1::PodSandboxStatus::default() }),
            ..status(CONTAINERD)
        };
        assert_eq!(whereabouts(&node).unwrap(), Whereabouts::Node);
    }

    #[test]
    fn a_runtime_that_tells_nothing_is_believed() {
        assert_eq!(whereabouts(&v1::PodSandboxStatusResponse::default()).unwrap(), Whereabouts::Unknown);
        assert_eq!(read("{}"), Whereabouts::Unknown);
        assert!(whereabouts(&status("no JSON")).is_err());
        assert!(whereabouts(&status(r#"{"runtimeSpec": {"linux": {"namespaces": 5}}}"#)).is_err());
    }
}
