// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests: ports that are only noted down, and a namespace to put them in.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Sandbox, Whereabouts, Wiring, WiringError};
use crate::core::{ids::PortId, origin::Pod, spec::PortSpec};

/// Ports that are only noted down.
#[derive(Clone, Default)]
pub(super) struct Noted {
    pub(super) ports: Arc<Mutex<BTreeMap<PortId, PortSpec>>>,
    /// Links that cannot be wired.
    pub(super) broken: Arc<Mutex<Vec<&'static str>>>,
    /// How long wiring takes.
    pub(super) slow: Arc<Mutex<Duration>>,
}

#[derive(Debug, thiserror::Error)]
#[error("link {0} is broken")]
struct Broken(String);

impl Noted {
    /// Sandbox and link of each.
    pub(super) fn shown(&self) -> Vec<(String, String)> {
        let ports = self.ports.lock().unwrap();
        let mut shown: Vec<_> =
            ports.values().map(|port| (port.origin.sandbox.clone(), port.pod_link.to_string())).collect();
        shown.sort();
        shown
    }

    pub(super) fn has(&self, expected: &[(&str, &str)]) -> bool {
        let expected: Vec<_> = expected.iter().map(|(s, l)| ((*s).to_owned(), (*l).to_owned())).collect();
        self.shown() == expected
    }

    /// Waits until exactly these are there.
    pub(super) async fn wait(&self, expected: &[(&str, &str)]) {
        let there = async {
            while !self.has(expected) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), there).await;
        assert!(waited.is_ok(), "{expected:?} expected, there are {:?}", self.shown());
    }
}

#[tonic::async_trait]
impl Wiring for Noted {
    async fn attach(&self, ask: PortSpec) -> Result<(), WiringError> {
        let slow = *self.slow.lock().unwrap();
        tokio::time::sleep(slow).await;
        if self.broken.lock().unwrap().contains(&ask.pod_link.as_str()) {
            return Err(WiringError::new(Broken(ask.pod_link.to_string())));
        }
        self.ports.lock().unwrap().insert(ask.id(), ask);
        Ok(())
    }

    async fn detach(&self, port: &PortId) -> Result<bool, WiringError> {
        Ok(self.ports.lock().unwrap().remove(port).is_some())
    }

    fn asks(&self) -> Vec<PortSpec> {
        self.ports.lock().unwrap().values().cloned().collect()
    }
}

/// A process in a network namespace of its own, where that is allowed: the tests' own namespace is the node's.
pub(super) struct Elsewhere(std::process::Child);

impl Elsewhere {
    /// `None` where namespaces cannot be made.
    pub(super) fn new() -> Option<Self> {
        use std::io::BufRead as _;
        let mut child = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", "echo in; exec cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        (line == "in\n").then_some(Self(child))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn netns(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.pid()).into()
    }

    /// A pod's sandbox in it.
    pub(super) fn sandbox(&self, id: &str, annotations: &[(&str, &str)]) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            pod: Pod { uid: format!("uid-{id}"), namespace: "ns".into(), name: id.to_owned() },
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            whereabouts: Whereabouts::Pod {
                netns: self.netns(),
                pid: self.pid(),
                resolv_conf: None,
                hostname: None,
            },
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
