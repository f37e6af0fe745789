// SPDX-License-Identifier: MIT OR Apache-2.0
//! One port's loop: passes on request, after failures with backoff, and now and then to see that all is well.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tracing::{info, warn};

use super::{
    FailureClass, Parts, Pass, PassError, Wired, mentions::Mentions, pass::Session, routers::KnownRouters,
};
use crate::{
    core::{ids::PortId, spec::PortSpec},
    netlink::NsId,
};

/// How long the changes of others are left to become whole before the port is looked at, and how long after a look they
/// have to wait: a link that comes and goes must not keep the agent busy.
const SETTLE: Duration = Duration::from_millis(50);
const SPACING: Duration = Duration::from_millis(250);
/// The longest that a change waits while the port fails: what passes do before they fail are changes, too.
const FAILING_SPACING: Duration = Duration::from_secs(1);
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
}

impl PortState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Ready, Self::Failed, Self::Detaching];

    /// The stable name in JSON, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Detaching => "detaching",
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
    /// When it came into this state.
    pub since: Instant,
    /// The last state in which it was as desired.
    pub wired: Option<Wired>,
}

impl PortStatus {
    fn pending() -> Self {
        Self { state: PortState::Pending, reason: String::new(), since: Instant::now(), wired: None }
    }

    fn enter(&mut self, state: PortState, reason: String) {
        if self.state != state {
            self.since = Instant::now();
        }
        (self.state, self.reason) = (state, reason);
    }
}

/// One port. Whoever works on it holds its turn.
pub(super) struct Port {
    id: PortId,
    parts: Parts,
    spec: Mutex<PortSpec>,
    status: Mutex<PortStatus>,
    turn: Arc<tokio::sync::Mutex<()>>,
    wake: Notify,
    stirred: Notify,
    nsid: Mutex<Option<NsId>>,
    routers: KnownRouters,
    mentions: Mutex<Mentions>,
}

/// Why a loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The port has to be looked at.
    Now,
    /// Nothing calls for it, but it is to be looked at another time than was thought.
    OtherResync,
}

/// The right to work on a port: one request or one look of its loop at a time.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Port {
    pub(super) fn new(parts: Parts, spec: PortSpec) -> Arc<Self> {
        Arc::new(Self {
            id: spec.id(),
            parts,
            spec: Mutex::new(spec),
            status: Mutex::new(PortStatus::pending()),
            turn: Arc::default(),
            wake: Notify::new(),
            stirred: Notify::new(),
            nsid: Mutex::new(None),
            routers: KnownRouters::default(),
            mentions: Mutex::new(Mentions::new(Instant::now())),
        })
    }

    pub(super) fn id(&self) -> &PortId {
        &self.id
    }

    pub(super) async fn turn(&self) -> Turn {
        Arc::clone(&self.turn).lock_owned().await
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

    /// Runs a pass, on a task of its own so that a panic ends only it.
    pub(super) async fn pass(self: &Arc<Self>, _turn: &Turn) -> Result<Pass, PassFailure> {
        let port = Arc::clone(self);
        let pass = tokio::spawn(async move {
            let spec = port.spec();
            let started = Instant::now();
            let (result, touched) = match Session::open(&port.parts, &spec).await {
                Ok(session) => {
                    let mut session = session.knowing(port.routers());
                    (session.settle().await, session.touched())
                }
                Err(e) => (Err(e), false),
            };
            port.record(&spec, &result, touched, started.elapsed());
            let failure = if touched { PassFailure::Touched } else { PassFailure::Untouched };
            result.map_err(|error| failure(Box::new(error)))
        });
        match pass.await {
            Ok(result) => result,
            Err(panic) => {
                tracing::error!(port = %self.id, %panic, "a pass panicked");
                self.parts.tally.failed(FailureClass::Panic);
                let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.enter(PortState::Failed, PassFailure::Panicked.to_string());
                Err(PassFailure::Panicked)
            }
        }
    }

    fn record(&self, spec: &PortSpec, result: &Result<Pass, PassError>, touched: bool, took: Duration) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ms = took.as_micros() as f64 / 1e3;
        self.parts.tally.ended(took);
        match result {
            Ok(Pass::Wired(wired)) => {
                if status.state != PortState::Ready {
                    if let Some(unmentioned) = self.mention() {
                        let (tier, hook) = (wired.desired.tier, wired.hook);
                        let reason = &wired.desired.tier_reason;
                        info!(port = %self.id, %tier, %hook, reason, elapsed_ms, unmentioned, "port is ready");
                    }
                } else if touched && let Some(unmentioned) = self.mention() {
                    info!(port = %self.id, elapsed_ms, unmentioned, "port is as desired again");
                }
                let known = status.wired.as_ref().map(|w| w.desired.warnings.as_slice()).unwrap_or_default();
                for warning in wired.desired.warnings.iter().filter(|w| !known.contains(w)) {
                    if let Some(unmentioned) = self.mention() {
                        warn!(port = %self.id, warning, unmentioned, "the path has a catch");
                    }
                }
                status.enter(PortState::Ready, String::new());
                status.wired = Some((**wired).clone());
            }
            Ok(Pass::Gone) => info!(port = %self.id, elapsed_ms, "port is gone"),
            Err(error) => {
                self.parts.tally.failed(error.class());
                let reason = reason(error);
                if status.reason != reason
                    && let Some(unmentioned) = self.mention()
                {
                    warn!(port = %self.id, error = reason, unmentioned, "pass failed");
                }
                status.enter(if spec.wanted { PortState::Failed } else { PortState::Detaching }, reason);
            }
        }
    }

    /// Whether the log may tell of the port once more; then how often it did not since.
    fn mention(&self) -> Option<u64> {
        self.mentions.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    /// Waits until the port has to be looked at: when somebody wakes it, when something changed in its namespace, or at
    /// `next`; or until there is another `resync`. `failures`: passes that failed since the last good one.
    pub(super) async fn due(
        &self,
        next: Instant,
        failures: u32,
        resync: &mut watch::Receiver<Duration>,
    ) -> Due {
        let last = Instant::now();
        tokio::select! {
            () = self.wake.notified() => {}
            () = self.stirred.notified() => {
                let whole = (Instant::now() + SETTLE).max(last + spacing(failures));
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(whole.into()) => {}
                }
            }
            // The sender lives as long as the ports.
            Ok(()) = resync.changed() => return Due::OtherResync,
            () = tokio::time::sleep_until(next.into()) => {}
        }
        Due::Now
    }

    /// Makes the loop look at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that something changed in the port's namespace.
    pub(super) fn stir(&self) {
        self.stirred.notify_one();
    }

    pub(super) fn nsid(&self) -> Option<NsId> {
        *self.nsid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_nsid(&self, nsid: NsId) {
        *self.nsid.lock().unwrap_or_else(PoisonError::into_inner) = Some(nsid);
    }

    pub(super) fn routers(&self) -> KnownRouters {
        self.routers.clone()
    }

    /// When a port that is as desired is looked at next: after `resync`, or sooner for a router that is missing.
    pub(super) fn next_look(&self, resync: Duration) -> Instant {
        let next = Instant::now() + jittered(resync);
        self.routers.missing_due().map_or(next, |due| next.min(due))
    }
}

/// A pass that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum PassFailure {
    /// It met an error before it did anything.
    #[error(transparent)]
    Untouched(Box<PassError>),
    /// It met an error after it had done something.
    #[error(transparent)]
    Touched(Box<PassError>),
    /// A defect in netagent; the port is tried again.
    #[error("the pass panicked; this is a defect in netagent, see its log")]
    Panicked,
}

impl PassFailure {
    /// Whether the namespace could not be reached, but lives.
    pub(super) fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::Untouched(e) | Self::Touched(e) if matches!(**e, PassError::OutOfReach(_)))
    }
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

pub(super) fn backoff(failures: u32) -> Duration {
    BACKOFF.0.saturating_mul(1 << failures.min(16)).min(BACKOFF.1)
}

/// How long after a look the next one may come because something changed.
fn spacing(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => SPACING,
        Some(earlier) => backoff(earlier).min(FAILING_SPACING),
    }
}

/// Up to a tenth more, so that ports which failed together do not come back together.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait + wait.mul_f64(dice() / 10.0)
}

/// Any number from 0 to 1.
pub(super) fn dice() -> f64 {
    let noise = std::collections::hash_map::RandomState::new();
    std::hash::BuildHasher::hash_one(&noise, ()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_heard_sooner_than_backoff_ends() {
        assert_eq!(spacing(0), SPACING);
        assert_eq!(spacing(1), BACKOFF.0);
        assert_eq!(spacing(u32::MAX), FAILING_SPACING);
    }

    #[test]
    fn backoff_doubles_to_its_limit() {
        assert_eq!(backoff(0), BACKOFF.0);
        assert_eq!(backoff(2), BACKOFF.0 * 4);
        assert_eq!(backoff(u32::MAX), BACKOFF.1);
        let jitter = jittered(BACKOFF.1);
        assert!((BACKOFF.1..=BACKOFF.1.mul_f64(1.1)).contains(&jitter));
    }
}
