// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rounds over all ports: what no event tells is looked at port by port, on one thread, which may hang on one of them.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

use crate::core::ids::PortId;

/// How long one port may take before somebody else looks at the others. It takes microseconds.
const PATIENCE: Duration = Duration::from_millis(100);
/// One that took longer comes behind all others the next time: who stops there stops them not even once a round.
const SLOW: Duration = Duration::from_millis(5);
/// Threads that wait for file systems that do not answer. From then on the slow ones are noticed late.
const MAX_HUNG: usize = 32;

/// What is looked at of a port.
pub(super) trait Sight: Send + Sync + 'static {
    /// Whether the port calls for a pass. May hang; nobody else looks then.
    fn calls(&self) -> bool;
}

/// Told of a port that calls for a pass.
pub(super) type Told = dyn Fn(&PortId) + Send + Sync;

/// What is looked at, of all ports.
pub(super) struct Rounds<S> {
    name: &'static str,
    pub(super) patience: Duration,
    ports: Mutex<BTreeMap<PortId, Arc<Watched<S>>>>,
}

/// One port.
pub(super) struct Watched<S> {
    port: PortId,
    pub(super) sight: S,
    /// Somebody looks at it, or waits for its file system.
    busy: AtomicBool,
    slow: AtomicBool,
}

impl<S: Sight> Watched<S> {
    pub(super) fn new(port: PortId, sight: S) -> Self {
        Self { port, sight, busy: AtomicBool::new(false), slow: AtomicBool::new(false) }
    }

    fn calls(&self) -> bool {
        if self.busy.swap(true, Ordering::AcqRel) {
            return false;
        }
        let started = Instant::now();
        let calls = self.sight.calls();
        self.slow.store(started.elapsed() > SLOW, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
        calls
    }
}

impl<S: Sight> Rounds<S> {
    /// Over no ports yet; `name` is that of the threads.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, patience: PATIENCE, ports: Mutex::default() }
    }

    pub(super) fn get(&self, port: &PortId) -> Option<Arc<Watched<S>>> {
        lock(&self.ports).get(port).cloned()
    }

    /// Looks at a port from the next round on.
    pub(super) fn insert(&self, watched: Arc<Watched<S>>) {
        lock(&self.ports).insert(watched.port.clone(), watched);
    }

    /// Forgets a port.
    pub(super) fn remove(&self, port: &PortId) {
        lock(&self.ports).remove(port);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.ports).len()
    }

    /// Looks at one that is in no round yet; whether that came to an end in time.
    pub(super) async fn look(&self, watched: &Arc<Watched<S>>) -> bool {
        let nobody: Arc<Told> = Arc::new(|_| {});
        timeout(self.patience, Round::new(self.name, [Arc::clone(watched)]).look(&nobody)).await.is_ok()
    }

    /// Looks at all once, and tells of those that call.
    pub(super) async fn round(&self, told: &Arc<Told>) {
        let (mut all, slow): (Vec<_>, Vec<_>) = lock(&self.ports)
            .values()
            .filter(|watched| !watched.busy.load(Ordering::Acquire))
            .cloned()
            .partition(|watched| !watched.slow.load(Ordering::Relaxed));
        all.extend(slow);
        if all.is_empty() {
            return;
        }
        let round = Round::new(self.name, all);
        let mut looker = round.look(told);
        loop {
            let before = round.looks.load(Ordering::Relaxed);
            // The other end of the channel is gone when the thread has ended, or was not started.
            if timeout(self.patience, &mut looker).await.is_ok() {
                return;
            }
            if round.looks.load(Ordering::Relaxed) != before {
                continue;
            }
            // It is left to its fate; the next one takes what it has not taken.
            if self.hung() > MAX_HUNG {
                return;
            }
            looker = round.look(told);
        }
    }

    fn hung(&self) -> usize {
        lock(&self.ports).values().filter(|watched| watched.busy.load(Ordering::Relaxed)).count()
    }
}

/// Ports to look at, once.
struct Round<S> {
    name: &'static str,
    left: Arc<Mutex<VecDeque<Arc<Watched<S>>>>>,
    looks: Arc<AtomicU64>,
}

impl<S: Sight> Round<S> {
    fn new(name: &'static str, ports: impl IntoIterator<Item = Arc<Watched<S>>>) -> Self {
        Self { name, left: Arc::new(Mutex::new(ports.into_iter().collect())), looks: Arc::default() }
    }

    /// Starts a thread that looks at what is left, and says when it has ended.
    fn look(&self, told: &Arc<Told>) -> oneshot::Receiver<Infallible> {
        let (end, ended) = oneshot::channel();
        let (left, looks, told) = (Arc::clone(&self.left), Arc::clone(&self.looks), Arc::clone(told));
        let started = thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            let _end = end;
            let next = || lock(&left).pop_front();
            while let Some(watched) = next() {
                if watched.calls() {
                    told(&watched.port);
                }
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        if let Err(error) = started {
            warn!(%error, thread = self.name, "changes are noticed late: there can be no more threads");
        }
        ended
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Does(Box<dyn Fn() -> bool + Send + Sync>);

    impl Sight for Does {
        fn calls(&self) -> bool {
            (self.0)()
        }
    }

    fn teller() -> (Arc<Told>, mpsc::Receiver<PortId>) {
        let (tell, told) = mpsc::channel();
        (Arc::new(move |id: &PortId| tell.send(id.clone()).unwrap()), told)
    }

    fn port(number: u64) -> PortId {
        format!("{number}-eth0").parse().unwrap()
    }

    fn with(rounds: &Rounds<Does>, number: u64, look: impl Fn() -> bool + Send + Sync + 'static) {
        rounds.insert(Arc::new(Watched::new(port(number), Does(Box::new(look)))));
    }

    /// Takes nobody for hung because the machine is busy.
    fn patient() -> Rounds<Does> {
        Rounds { patience: Duration::from_secs(60), ..Rounds::new("test") }
    }

    #[tokio::test]
    async fn those_that_call_are_told_of_each_round() {
        let (rounds, (told, heard)) = (patient(), teller());
        with(&rounds, 1, || true);
        with(&rounds, 2, || false);
        rounds.round(&told).await;
        rounds.round(&told).await;
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [port(1), port(1)]);
        rounds.remove(&port(1));
        rounds.round(&told).await;
        assert_eq!((heard.try_iter().count(), rounds.len()), (0, 1));
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_keeps_nobody_from_being_told() {
        let (rounds, (told, heard)) = (Rounds::new("test"), teller());
        // All that the first one is asked waits until the test lets go.
        let (let_go, hung) = mpsc::channel::<()>();
        let hung = Mutex::new(hung);
        with(&rounds, 0, move || {
            let _ = lock(&hung).recv();
            true
        });
        for number in 1..100 {
            with(&rounds, number, || true);
        }
        rounds.round(&told).await;
        let soon = Duration::from_secs(60);
        let mut others: Vec<_> = (1..100).map(|_| heard.recv_timeout(soon).unwrap()).collect();
        others.sort_unstable();
        others.dedup();
        assert_eq!(others.len(), 99, "all but the one that hangs, though it came first");
        // It holds one thread, however many rounds go by.
        assert!(rounds.get(&port(0)).unwrap().busy.load(Ordering::Relaxed));
        drop(let_go);
        assert!((0..200).any(|_| heard.recv_timeout(soon) == Ok(port(0))), "it is back");
    }

    #[tokio::test]
    async fn who_was_slow_comes_last() {
        let (rounds, (told, heard)) = (patient(), teller());
        for number in 0..3 {
            with(&rounds, number, || true);
        }
        rounds.get(&port(0)).unwrap().slow.store(true, Ordering::Relaxed);
        rounds.round(&told).await;
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [port(1), port(2), port(0)]);
    }
}
