// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads for work that can wait: they come with it, take all that there is, and end.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::error;

use crate::sys::netns::Traveller;

/// When what waits first has waited this long, those at work are stuck.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many threads there are at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strength {
    /// As long as they get on with it.
    pub(super) usual: usize,
    /// When they are stuck.
    pub(super) most: usize,
}

type Work<T> = dyn Fn(&Traveller, T) + Send + Sync;

/// Does one kind of work.
pub(super) struct Crew<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    name: &'static str,
    strength: Strength,
    work: Box<Work<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    waiting: VecDeque<(Instant, T)>,
    threads: usize,
}

impl<T: Send + 'static> Crew<T> {
    pub(super) fn new(
        name: &'static str,
        strength: Strength,
        work: impl Fn(&Traveller, T) + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), threads: 0 });
        Self { inner: Arc::new(Inner { name, strength, work: Box::new(work), state }) }
    }

    /// Has it done.
    pub(super) fn put(&self, item: T) {
        self.inner.state().waiting.push_back((Instant::now(), item));
        self.look();
    }

    /// Sees to it that those who are stuck do not keep the others. Whether something still waits.
    pub(super) fn look(&self) -> bool {
        let mut state = self.inner.state();
        let Some((since, _)) = state.waiting.front() else { return false };
        let Strength { usual, most } = self.inner.strength;
        let bound = if since.elapsed() < PATIENCE { usual } else { most };
        if state.threads < bound {
            state.threads += 1;
            drop(state);
            let thread = Thread { inner: Arc::clone(&self.inner), off: false };
            // When it cannot start, its count goes with it, and the work waits for the next look.
            if let Err(e) = Traveller::spawn(self.inner.name, move |traveller| thread.run(traveller)) {
                error!(error = %e, "no thread to serve guests with");
            }
        }
        true
    }
}

impl<T> Inner<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state();
        write!(f, "Crew({}: {} threads, {} waiting)", self.inner.name, state.threads, state.waiting.len())
    }
}

/// One of the threads. Counts until it is dropped, also by a panic.
struct Thread<T> {
    inner: Arc<Inner<T>>,
    off: bool,
}

impl<T> Thread<T> {
    fn run(mut self, traveller: &Traveller) {
        while let Some(item) = self.next() {
            (self.inner.work)(traveller, item);
        }
    }

    fn next(&mut self) -> Option<T> {
        let mut state = self.inner.state();
        let next = state.waiting.pop_front();
        if next.is_none() {
            // In the same breath: whoever puts something now finds this thread gone.
            state.threads = state.threads.saturating_sub(1);
            drop(state);
            self.off = true;
        }
        next.map(|(_, item)| item)
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        if !self.off {
            let mut state = self.inner.state();
            state.threads = state.threads.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn work_that_is_stuck_gives_way_to_other_work() {
        let (done, ended) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let crew = Crew::new("test", Strength { usual: 2, most: 4 }, move |_, stuck: bool| {
            if stuck {
                // Two at most are in here, one of them at the receiver, the other at the lock.
                held.lock().unwrap().recv().unwrap();
            }
            done.send(stuck).unwrap();
        });
        crew.put(true);
        crew.put(true);
        crew.put(false);
        let started = Instant::now();
        let first = loop {
            crew.look();
            if let Ok(first) = ended.recv_timeout(Duration::from_millis(1)) {
                break first;
            }
            assert!(started.elapsed() < LONG, "{crew:?}");
        };
        assert!(!first);
        release.send(()).unwrap();
        release.send(()).unwrap();
        assert_eq!((ended.recv_timeout(LONG), ended.recv_timeout(LONG)), (Ok(true), Ok(true)));
    }

    #[test]
    fn threads_end_with_their_work_and_come_again_also_after_a_panic() {
        let (done, ended) = mpsc::channel();
        let crew = Crew::new("test", Strength { usual: 1, most: 1 }, move |_, n: u32| {
            assert_ne!(n, 13, "the test's own panic");
            done.send(n).unwrap();
        });
        for n in [1, 13, 2] {
            crew.put(n);
            let started = Instant::now();
            while crew.inner.state().threads > 0 {
                assert!(started.elapsed() < LONG, "{crew:?}");
                std::thread::yield_now();
            }
        }
        assert_eq!(ended.try_iter().collect::<Vec<_>>(), [1, 2]);
    }
}
