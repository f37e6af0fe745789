// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many pods on one node, as the CNI plugin `ptp` leaves them: every pod has its own address and the same gateway.

use std::{fs, num::NonZero, path::Path, thread};

use anyhow::{Context as _, Result};
use netagent_tests::netns::Netns;

use super::{hands::each, scene::TAP, step};

const GATEWAY: &str = "10.88.0.1";
const RESOLV_CONF: &str = "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n";
/// Pods that are built at the same time: most of it is waiting.
const HANDS_PER_CPU: usize = 4;

/// The pods. Dropping it removes their namespaces.
#[derive(Debug)]
pub(super) struct Crowd {
    /// None of them has a port.
    pub(super) pods: Vec<Pod>,
    /// Where the other ends of their links are.
    pub(super) node: Netns,
    // After the pods: the files in it are theirs.
    _folder: tempfile::TempDir,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) netns: Netns,
    /// Words of `netagent attach` for it.
    pub(super) attach: Vec<String>,
}

impl Crowd {
    /// Makes `count` of them.
    pub(super) fn build(count: usize) -> Result<Self> {
        step("pods", |step| {
            let folder =
                tempfile::Builder::new().prefix("natest-crowd-").tempdir().context("cannot make a folder")?;
            let node = Netns::new("node")?;
            node.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
            let pods = each(hands(), count, |at| {
                step.note(format!("{at} of {count}"));
                Pod::empty(at, folder.path())
            })?;
            let links = pods.iter().enumerate().map(|(at, pod)| {
                let (link, pod, address) = (link(at), pod.netns.name(), address(at));
                format!(
                    "link add {link} type veth peer name eth0 netns {pod}\nlink set {link} up\n\
                     address add {GATEWAY}/32 dev {link}\nroute add {address}/32 dev {link}\n"
                )
            });
            batch(&node, &folder.path().join("node"), &links.collect::<String>())?;
            each(hands(), count, |at| {
                step.note(format!("address {at} of {count}"));
                let pod = pods.get(at).with_context(|| format!("pod {at}"))?;
                pod.give_address(at, folder.path())
            })?;
            Ok((Self { pods, node, _folder: folder }, format!("{count}, each with a link to the node")))
        })
    }
}

impl Pod {
    fn empty(at: usize, folder: &Path) -> Result<Self> {
        let netns = Netns::new("pod")?;
        netns.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        // One each, as the kubelet gives them.
        let resolv_conf = folder.join(format!("{at}.resolv.conf"));
        fs::write(&resolv_conf, RESOLV_CONF)
            .with_context(|| format!("cannot write {}", resolv_conf.display()))?;
        let (path, resolv_conf) = (netns.path().display().to_string(), resolv_conf.display().to_string());
        let attach =
            ["--netns", &path, "--tap", TAP, "--resolv-conf", &resolv_conf, "--hostname", "one-of-many"]
                .map(str::to_owned)
                .into();
        Ok(Self { netns, attach })
    }

    fn give_address(&self, at: usize, folder: &Path) -> Result<()> {
        let address = address(at);
        let commands = format!(
            "link set eth0 up\naddress add {address}/32 dev eth0\nroute add {GATEWAY}/32 dev eth0\n\
             route add default via {GATEWAY}\n"
        );
        batch(&self.netns, &folder.join(at.to_string()), &commands)
    }
}

fn hands() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get) * HANDS_PER_CPU
}

fn batch(netns: &Netns, file: &Path, commands: &str) -> Result<()> {
    fs::write(file, commands).with_context(|| format!("cannot write {}", file.display()))?;
    netns.ip(&format!("-batch {}", file.display())).map(drop)
}

fn link(at: usize) -> String {
    format!("veth{at}")
}

fn address(at: usize) -> String {
    format!("10.88.{}.{}", at / 250 + 1, at % 250 + 1)
}
