// SPDX-License-Identifier: MIT OR Apache-2.0
//! One port's loop: passes on request, after failures with backoff, and now and then to see that all is well.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::{Parts, Pass, PassError, Wired, pass::Session};
use crate::{
    core::{ids::PortId, spec::PortSpec},
    sys::netns::Netns,
};

/// How often a port whose namespace may have gone is looked at: one stat(2).
const ALIVE_CHECK: Duration = Duration::from_secs(1);
/// First and longest wait after a failure; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Where a port stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// No pass has ended yet.
    Pending,
    /// As desired.
    Ready,
    /// The last pass failed; the next one tries again.
    Failed,
    /// On its way out.
    Detaching,
    /// Nothing is left of it.
    Gone,
}

impl PortState {
    /// The stable name in JSON, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Detaching => "detaching",
            Self::Gone => "gone",
        }
    }
}

/// A port's standing, for people and programs.
#[derive(Clone, Debug)]
pub struct PortStatus {
    /// Where it stands.
    pub state: PortState,
    /// Why it failed; empty when it did not.
    pub reason: String,
    /// The last state in which it was as desired.
    pub wired: Option<Wired>,
}

/// One port. Its passes run one at a time.
pub(super) struct Port {
    id: PortId,
    parts: Parts,
    resync: Duration,
    spec: Mutex<PortSpec>,
    status: Mutex<PortStatus>,
    one_pass: tokio::sync::Mutex<()>,
    wake: Notify,
}

impl Port {
    pub(super) fn new(parts: Parts, spec: PortSpec, resync: Duration) -> Arc<Self> {
        Arc::new(Self {
            id: spec.id(),
            parts,
            resync,
            spec: Mutex::new(spec),
            status: Mutex::new(PortStatus { state: PortState::Pending, reason: String::new(), wired: None }),
            one_pass: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        })
    }

    pub(super) fn spec(&self) -> PortSpec {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_spec(&self, spec: PortSpec) {
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = spec;
    }

    pub(super) fn status(&self) -> PortStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a pass on a task of its own: a caller that goes away does not cut it short, and a panic ends only it.
    pub(super) async fn pass(self: &Arc<Self>) -> Result<Pass, PassFailure> {
        let port = Arc::clone(self);
        let pass = tokio::spawn(async move {
            let _one = port.one_pass.lock().await;
            let spec = port.spec();
            let started = Instant::now();
            let result = async { Session::open(&port.parts, &spec).await?.settle().await }.await;
            port.record(&spec, &result, started.elapsed());
            result
        });
        match pass.await {
            Ok(result) => result.map_err(PassFailure::Error),
            Err(panic) => {
                let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.state = PortState::Failed;
                status.reason = PassFailure::Panicked.to_string();
                tracing::error!(port = %self.id, %panic, "a pass panicked");
                Err(PassFailure::Panicked)
            }
        }
    }

    fn record(&self, spec: &PortSpec, result: &Result<Pass, PassError>, took: Duration) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ms = took.as_secs_f64() * 1e3;
        match result {
            Ok(Pass::Wired(wired)) => {
                if status.state != PortState::Ready {
                    let (tier, hook) = (wired.desired.tier, wired.hook);
                    info!(port = %self.id, %tier, %hook, elapsed_ms, "port is ready");
                }
                *status = PortStatus {
                    state: PortState::Ready,
                    reason: String::new(),
                    wired: Some((**wired).clone()),
                };
            }
            Ok(Pass::Gone) => {
                info!(port = %self.id, elapsed_ms, "port is gone");
                *status = PortStatus { state: PortState::Gone, reason: String::new(), wired: None };
            }
            Err(error) => {
                let reason = reason(error);
                if status.reason != reason {
                    warn!(port = %self.id, error = reason, "pass failed");
                }
                status.state = if spec.wanted { PortState::Failed } else { PortState::Detaching };
                status.reason = reason;
            }
        }
    }

    /// Looks after the port until nothing of it is left.
    pub(super) async fn tend(self: Arc<Self>) {
        let mut failures = 0;
        let mut next = Instant::now() + self.resync;
        loop {
            let asked = tokio::select! {
                () = self.wake.notified() => true,
                () = tokio::time::sleep(ALIVE_CHECK.min(next.saturating_duration_since(Instant::now()))) => false,
            };
            if self.status().state == PortState::Gone {
                return;
            }
            if !asked && Instant::now() < next && self.is_alive() {
                continue;
            }
            match self.pass().await {
                Ok(Pass::Gone) => return,
                Ok(Pass::Wired(_)) => {
                    failures = 0;
                    next = Instant::now() + jittered(self.resync);
                }
                Err(_) => {
                    next = Instant::now() + jittered(backoff(failures));
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    /// Makes the loop look at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether the namespace is still at its path. Opens it for no longer than the answer takes.
    fn is_alive(&self) -> bool {
        let spec = self.spec();
        !spec.wanted || Netns::open(&spec.netns).is_ok_and(|n| n.id() == spec.netns_id)
    }
}

/// A pass that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum PassFailure {
    /// It met an error.
    #[error(transparent)]
    Error(PassError),
    /// A defect in netagent; the port is tried again.
    #[error("the pass panicked; this is a defect in netagent, see its log")]
    Panicked,
}

fn reason(error: &PassError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.0.saturating_mul(1 << failures.min(16)).min(BACKOFF.1)
}

/// Up to a tenth more, so that ports which failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let noise = std::collections::hash_map::RandomState::new();
    let part = std::hash::BuildHasher::hash_one(&noise, wait) % 100;
    wait + wait.mul_f64(part as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit() {
        assert_eq!(backoff(0), BACKOFF.0);
        assert_eq!(backoff(2), BACKOFF.0 * 4);
        assert_eq!(backoff(u32::MAX), BACKOFF.1);
        let jitter = jittered(BACKOFF.1);
        assert!((BACKOFF.1..=BACKOFF.1.mul_f64(1.1)).contains(&jitter));
    }
}
