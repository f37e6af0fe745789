// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pods of one source: which of them want ports, what is wired of that, and what is in the way of the rest.

mod error;
mod locate;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tracing::{info, warn};

pub use self::error::{Obstacle, PodError};
use super::{Sandbox, Wiring, patience};
use crate::core::{
    annotations::{self, Permitted},
    ids::{IfName, PortId},
    mode::Mode,
    origin::{Origin, Pod, Source},
    snapshot::{Claim, Difference, Listing},
    spec::PortSpec,
};

/// How long nothing is looked at when nothing calls for it.
const IDLE: Duration = Duration::from_secs(3600);

/// What is in the way of a pod's ports.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The pod.
    pub pod: Pod,
    /// Of what kind it is.
    pub obstacle: Obstacle,
    /// In words, with the remedy.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    /// Tries in a row that failed.
    pub failures: u32,
    /// When it is tried again; never by itself, when absent.
    due: Option<Instant>,
}

/// A sandbox, and one of its links, or none for what concerns them all.
type Where = (String, Option<IfName>);

fn at(ask: &PortSpec) -> Where {
    (ask.origin.sandbox.clone(), Some(ask.pod_link.clone()))
}

/// The pods that one source tells of.
#[derive(Clone)]
pub struct Pods(Arc<Inner>);

struct Inner {
    source: Source,
    wiring: Arc<dyn Wiring>,
    permitted: Permitted,
    state: Mutex<State>,
    stirred: Notify,
}

struct State {
    listing: Listing,
    /// Those that are our business.
    sandboxes: BTreeMap<String, Sandbox>,
    /// What those of them ask for that were understood.
    asks: BTreeMap<String, Vec<PortSpec>>,
    troubles: BTreeMap<Where, Trouble>,
    /// Whether the source answers.
    heard: bool,
    /// Pods that were not let start, by what was in the way.
    refused: BTreeMap<Obstacle, u64>,
}

impl Pods {
    /// None yet.
    pub fn new(source: Source, wiring: Arc<dyn Wiring>, permitted: Permitted) -> Self {
        let state = State {
            listing: Listing::new(source),
            sandboxes: BTreeMap::new(),
            asks: BTreeMap::new(),
            troubles: BTreeMap::new(),
            heard: false,
            refused: BTreeMap::new(),
        };
        Self(Arc::new(Inner { source, wiring, permitted, state: Mutex::new(state), stirred: Notify::new() }))
    }

    /// Who tells of them.
    pub fn source(&self) -> Source {
        self.0.source
    }

    /// Whether the source answers, and how many pods are our business.
    pub fn standing(&self) -> (bool, usize) {
        let state = self.state();
        (state.heard, state.sandboxes.len())
    }

    /// What is in the way of pods' ports.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.state().troubles.values().cloned().collect()
    }

    /// How many pods were not let start so far, by what was in the way.
    pub fn refused(&self) -> BTreeMap<Obstacle, u64> {
        self.state().refused.clone()
    }

    /// The source cannot be asked: nothing is taken back before its next whole list.
    pub fn doubt(&self) {
        let mut state = self.state();
        state.listing.doubt();
        state.heard = false;
    }

    /// A whole list of the sandboxes that are our business. What follows from it is done by [`tend`](Self::tend).
    pub fn complete(&self, sandboxes: Vec<Sandbox>) {
        let sandboxes: BTreeMap<_, _> =
            sandboxes.into_iter().map(|sandbox| (sandbox.id.clone(), sandbox)).collect();
        let mut state = self.state();
        state.heard = true;
        state.troubles.retain(|(id, _), _| sandboxes.contains_key(id));
        let State { sandboxes: before, asks, .. } = &mut *state;
        asks.retain(|id, _| sandboxes.get(id).is_some_and(|sandbox| before.get(id) == Some(sandbox)));
        state.sandboxes = sandboxes.clone();
        let claims = sandboxes.values().map(|sandbox| (sandbox.id.clone(), self.claim(sandbox, &mut state)));
        let claims = claims.collect();
        state.listing.complete(claims);
        self.0.stirred.notify_one();
    }

    /// A sandbox whose containers have not been started: returns when its ports are there. One that cannot get them
    /// in time is left without any.
    ///
    /// # Errors
    /// Why a port is not there.
    pub async fn starts(&self, sandbox: &Sandbox, within: Duration) -> Result<(), PodError> {
        let started = match timeout(within, self.wire_all(sandbox)).await {
            Ok(started) => started,
            Err(_) => {
                let (pods, id) = (self.clone(), sandbox.id.clone());
                tokio::spawn(async move { pods.stopped(&id).await });
                Err(PodError::Late { pod: sandbox.pod.clone(), within })
            }
        };
        if let Err(error) = &started {
            *self.state().refused.entry(error.obstacle()).or_default() += 1;
        }
        started
    }

    async fn wire_all(&self, sandbox: &Sandbox) -> Result<(), PodError> {
        let asks = self.asks(sandbox)?;
        if asks.is_empty() {
            return Ok(());
        }
        {
            let mut state = self.state();
            state.sandboxes.insert(sandbox.id.clone(), sandbox.clone());
            state.asks.insert(sandbox.id.clone(), asks.clone());
            state.listing.put(sandbox.id.clone(), Claim::Asks(asks.clone()));
        }
        // KubeVirt makes its bridge in a pod that runs: to wait for one would be for ever.
        let (asks, later): (Vec<_>, Vec<_>) = asks.into_iter().partition(|ask| ask.mode == Mode::L2);
        if !later.is_empty() {
            self.0.stirred.notify_one();
        }
        let theirs: BTreeMap<_, _> =
            self.0.wiring.asks().into_iter().map(|ask| (ask.id(), ask.origin.source)).collect();
        let ports = asks.len();
        for ask in asks {
            match theirs.get(&ask.id()).filter(|source| **source != self.0.source) {
                Some(source) => {
                    info!(port = %ask.id(), pod = %sandbox.pod, %source, "the pod's port is there already")
                }
                None => {
                    let link = ask.pod_link.clone();
                    if let Err(source) = self.0.wiring.attach(ask).await {
                        self.stopped(&sandbox.id).await;
                        return Err(PodError::Wire { pod: sandbox.pod.clone(), link, source });
                    }
                }
            }
        }
        info!(pod = %sandbox.pod, sandbox = sandbox.id, ports, later = later.len(), "the pod's ports are there before it starts");
        Ok(())
    }

    /// A sandbox that is on its way out: returns when its ports are gone. What is left goes with its namespace.
    pub async fn stopped(&self, id: &str) {
        {
            let mut state = self.state();
            state.listing.remove(id);
            state.sandboxes.remove(id);
            state.asks.remove(id);
            state.troubles.retain(|(sandbox, _), _| sandbox != id);
        }
        for ask in self.0.wiring.asks() {
            if ask.origin.source == self.0.source && ask.origin.sandbox == id {
                self.detach(ask.id()).await;
            }
        }
        self.0.stirred.notify_one();
    }

    /// Does what the lists call for, for ever.
    pub async fn tend(&self) {
        loop {
            let next = self.look().await;
            tokio::select! {
                () = self.0.stirred.notified() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// Wires what is wanted and not there, takes off what is there and not wanted. When to look again.
    async fn look(&self) -> Instant {
        let there = self.0.wiring.asks();
        let difference = {
            let mut state = self.state();
            for id in state.not_understood() {
                if let Some(sandbox) = state.sandboxes.get(&id).cloned() {
                    let claim = self.claim(&sandbox, &mut state);
                    state.listing.put(id, claim);
                }
            }
            let difference = state.listing.against(&there);
            state.forget_all_but(&difference);
            difference
        };
        let mut work = JoinSet::new();
        for port in difference.detach {
            let pods = self.clone();
            work.spawn(async move { pods.detach(port).await });
        }
        for ask in difference.attach.into_iter().chain(difference.change) {
            let at = at(&ask);
            if self.state().troubles.get(&at).is_some_and(|trouble| !trouble.is_due()) {
                continue;
            }
            let pods = self.clone();
            work.spawn(async move { pods.attach(at, ask).await });
        }
        work.join_all().await;
        let state = self.state();
        state.troubles.values().filter_map(|trouble| trouble.due).min().unwrap_or(Instant::now() + IDLE)
    }

    async fn attach(&self, at: Where, ask: PortSpec) {
        let (pod, link) = (ask.origin.pod.clone(), ask.pod_link.clone());
        match self.0.wiring.attach(ask).await {
            Ok(()) => _ = self.state().troubles.remove(&at),
            Err(source) => self.state().note(at, &pod.clone(), &PodError::Wire { pod, link, source }),
        }
    }

    async fn detach(&self, port: PortId) {
        if let Err(error) = self.0.wiring.detach(&port).await {
            warn!(%port, error = chain(&error), "could not take a port off; it is tried again until it is done");
        }
    }

    /// What a sandbox claims. One that cannot be understood keeps what it has.
    fn claim(&self, sandbox: &Sandbox, state: &mut State) -> Claim {
        let at = (sandbox.id.clone(), None);
        if let Some(asks) = state.asks.get(&sandbox.id) {
            return Claim::Asks(asks.clone());
        }
        if state.troubles.get(&at).is_some_and(|trouble| !trouble.is_due()) {
            return Claim::Unclear;
        }
        match self.asks(sandbox) {
            Ok(asks) => {
                state.troubles.remove(&at);
                state.asks.insert(sandbox.id.clone(), asks.clone());
                Claim::Asks(asks)
            }
            Err(error) => {
                state.note(at, &sandbox.pod, &error);
                Claim::Unclear
            }
        }
    }

    /// The asks of a sandbox.
    fn asks(&self, sandbox: &Sandbox) -> Result<Vec<PortSpec>, PodError> {
        let Sandbox { id, pod, annotations, whereabouts } = sandbox;
        let asks = annotations::asks(pod, annotations, self.0.permitted)?;
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let origin =
            Origin { source: self.0.source, pod: pod.clone(), sandbox: id.clone(), ..Origin::default() };
        origin.check()?;
        let place = locate::place(pod, whereabouts)?;
        Ok(asks.into_iter().map(|ask| place.port(ask, origin.clone())).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done while the lock is held.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sandboxes that could not be understood, and may be now.
    fn not_understood(&self) -> Vec<String> {
        let due = self.troubles.iter().filter(|((_, link), trouble)| link.is_none() && trouble.is_due());
        due.map(|((id, _), _)| id.clone()).collect()
    }

    /// Forgets what was in the way of ports that are not missing any more, as those that somebody else made.
    fn forget_all_but(&mut self, missing: &Difference) {
        let missing: BTreeSet<_> = missing.attach.iter().chain(&missing.change).map(at).collect();
        self.troubles.retain(|at, _| at.1.is_none() || missing.contains(at));
    }

    /// Remembers what is in the way, and tells of it when it is new.
    fn note(&mut self, at: Where, pod: &Pod, error: &PodError) {
        let reason = chain(error);
        let sandbox = at.0.clone();
        let trouble = self.troubles.entry(at).or_insert_with(|| Trouble {
            pod: pod.clone(),
            obstacle: error.obstacle(),
            reason: String::new(),
            since: Instant::now(),
            failures: 0,
            due: None,
        });
        trouble.failures = trouble.failures.saturating_add(1);
        let wait = error.may_pass().then(|| patience::after(trouble.failures));
        trouble.due = wait.and_then(|wait| Instant::now().checked_add(wait));
        if trouble.reason != reason {
            let again = match wait {
                Some(wait) => format!("in {:.1} s", wait.as_secs_f32()),
                None => "when the pod is made anew".to_owned(),
            };
            warn!(%pod, sandbox, error = reason, again, "the pod does not get its ports");
        }
        trouble.obstacle = error.obstacle();
        trouble.reason = reason;
    }
}

impl Trouble {
    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
