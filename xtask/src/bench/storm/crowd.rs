// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many pods on one node, each with a port of the real agent and a guest that has yet to boot.

use std::{
    fs,
    num::NonZero,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use netagent_tests::{
    agent::Agent,
    interrupt,
    netns::Netns,
    tap::{Tap, TapSpec},
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::Value;

use crate::bench::{
    load::frame::Mac,
    scene::{TAP, mac},
};

const GATEWAY: &str = "10.88.0.1";
const RESOLV_CONF: &str = "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n";
/// Pods that are built or attached at the same time: most of it is waiting.
const HANDS_PER_CPU: usize = 4;

/// The pods. Dropping it removes their namespaces.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) guests: Vec<Guest>,
    // After the taps.
    _pods: Vec<Netns>,
    _node: Netns,
}

/// A guest with its end of the tap.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) tap: Tap,
    pub(super) mac: Mac,
}

impl Crowd {
    /// As the CNI plugin `ptp` leaves them: every pod has its own address and the same gateway.
    pub(super) fn build(agent: &Agent, count: usize, told: impl Fn(&str, usize) + Sync) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("natest-storm-").tempdir().context("cannot make a folder")?;
        let node = Netns::new("node")?;
        node.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        let pods = each(count, |at| {
            told("pod", at);
            let pod = Netns::new("pod")?;
            pod.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
            Ok(pod)
        })?;
        let links = pods.iter().enumerate().map(|(at, pod)| {
            let (link, pod, address) = (link(at), pod.name(), address(at));
            format!(
                "link add {link} type veth peer name eth0 netns {pod}\nlink set {link} up\n\
                 address add {GATEWAY}/32 dev {link}\nroute add {address}/32 dev {link}\n"
            )
        });
        batch(&node, &folder.path().join("node"), &links.collect::<String>())?;
        let guests = each(count, |at| {
            told("port", at);
            let pod = pods.get(at).with_context(|| format!("pod {at}"))?;
            let (address, file) = (address(at), folder.path().join(at.to_string()));
            let inside = format!(
                "link set eth0 up\naddress add {address}/32 dev eth0\nroute add {GATEWAY}/32 dev eth0\n\
                 route add default via {GATEWAY}\n"
            );
            batch(pod, &file, &inside)?;
            // One each, as the kubelet gives them.
            let resolv_conf = file.with_extension("resolv.conf");
            fs::write(&resolv_conf, RESOLV_CONF)
                .with_context(|| format!("cannot write {}", resolv_conf.display()))?;
            Guest::attach(agent, pod, &resolv_conf)
        })?;
        Ok(Self { guests, _pods: pods, _node: node })
    }
}

impl Guest {
    fn attach(agent: &Agent, pod: &Netns, resolv_conf: &Path) -> Result<Self> {
        let (netns, resolv_conf) = (pod.path().display().to_string(), resolv_conf.display().to_string());
        let words =
            ["attach", "--netns", &netns, "--tap", TAP, "--resolv-conf", &resolv_conf, "--hostname", "storm"];
        let port = agent.json(&words)?;
        let spelled = port.pointer("/guest/mac").and_then(Value::as_str).context("a port without a MAC")?;
        let tap = Tap::open(pod, TAP, TapSpec::default())?;
        fcntl(&tap, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .context("cannot make the tap's descriptor non-blocking")?;
        Ok(Self { tap, mac: mac(spelled)? })
    }
}

/// Does `work` for each of the numbers below `count`, several at a time.
fn each<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let hands = thread::available_parallelism().map_or(1, NonZero::get) * HANDS_PER_CPU;
    let mut done = thread::scope(|scope| {
        let hand = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok(done);
                }
                interrupt::check()?;
                // When one fails, the others need not begin.
                done.push((at, work(at).inspect_err(|_| next.store(count, Ordering::Relaxed))?));
            }
        };
        let hands: Vec<_> = (0..hands).map(|_| scope.spawn(hand)).collect();
        let done: Result<Vec<_>> = hands
            .into_iter()
            .map(|hand| hand.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
            .collect();
        anyhow::Ok(done?.into_iter().flatten().collect::<Vec<_>>())
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, made)| made).collect())
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
