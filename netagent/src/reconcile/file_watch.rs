// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notices when a pod's resolv.conf or host name changes: a stamp of each file, once a second, on a thread that may hang.
//!
//! Not inotify: it tells nothing of a file that is replaced behind a link, nor of one on a share, and its marks are on
//! inodes, of which a pod's links can lead to any.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

use super::{pod_files::Place, ports::Ports};
use crate::{
    core::{ids::PortId, spec::PortSpec},
    sys::regular_file::Stamp,
};

/// How often the files are looked at. Two files take 13 us, so a thousand ports take 1.3 % of a CPU.
const EVERY: Duration = Duration::from_secs(1);
/// How long one port's files may take before somebody else looks at the others'. They take microseconds.
const PATIENCE: Duration = Duration::from_millis(100);
/// One that took longer comes behind all others the next time: who stops there stops them not even once a round.
const SLOW: Duration = Duration::from_millis(5);
/// Threads that wait for file systems that do not answer. From then on the slow ones are noticed late.
const MAX_HUNG: usize = 32;

/// The files of all ports.
pub(super) struct FileWatch {
    ports: Mutex<BTreeMap<PortId, Arc<Files>>>,
    patience: Duration,
}

impl Default for FileWatch {
    fn default() -> Self {
        Self { ports: Mutex::default(), patience: PATIENCE }
    }
}

/// The files of one port.
struct Files {
    port: PortId,
    places: Vec<Place>,
    look: Box<dyn Fn() -> Stamps + Send + Sync>,
    stamps: Mutex<Stamps>,
    /// Somebody looks at them, or waits for their file system.
    busy: AtomicBool,
    slow: AtomicBool,
}

/// Of each place, in their order; empty when they have not been looked at.
type Stamps = Vec<Result<Stamp, Option<i32>>>;

impl Ports {
    /// Looks at a port as soon as a file changes that its guest is told of.
    pub fn watch_files(&self) -> impl Future<Output = Infallible> + use<> {
        let ports = self.clone();
        async move {
            let stirred = ports.clone();
            let changed: Arc<Changed> = Arc::new(move |id| stirred.stir(Some(id)));
            loop {
                tokio::time::sleep(EVERY).await;
                ports.files.round(&changed).await;
            }
        }
    }
}

/// Told of a port whose files changed.
type Changed = dyn Fn(&PortId) + Send + Sync;

impl FileWatch {
    /// Watches the files of a port from now on; once, until it is asked for with others. Before they are read: what
    /// changes after that is noticed.
    pub(super) async fn add(&self, port: &PortId, spec: &PortSpec) {
        let places = Place::of(spec);
        if lock(&self.ports).get(port).is_some_and(|known| known.places == places) {
            return;
        }
        let mut files = Arc::new(Files::new(port.clone(), places.clone()));
        let nobody: Arc<Changed> = Arc::new(|_| {});
        let first = Round::new([Arc::clone(&files)]).look(&nobody);
        if timeout(self.patience, first).await.is_err() {
            // Whenever that look ends, it may be after the files were read: a round makes the first one.
            files = Arc::new(Files::new(port.clone(), places));
        }
        lock(&self.ports).insert(port.clone(), files);
    }

    /// Forgets a port.
    pub(super) fn remove(&self, port: &PortId) {
        lock(&self.ports).remove(port);
    }

    /// Looks at all files once, and tells whose changed.
    async fn round(&self, changed: &Arc<Changed>) {
        let (mut all, slow): (Vec<_>, Vec<_>) = lock(&self.ports)
            .values()
            .filter(|files| !files.places.is_empty() && !files.busy.load(Ordering::Acquire))
            .cloned()
            .partition(|files| !files.slow.load(Ordering::Relaxed));
        all.extend(slow);
        if all.is_empty() {
            return;
        }
        let round = Round::new(all);
        let mut looker = round.look(changed);
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
            looker = round.look(changed);
        }
    }

    fn hung(&self) -> usize {
        lock(&self.ports).values().filter(|files| files.busy.load(Ordering::Relaxed)).count()
    }
}

/// Files to look at, once.
struct Round {
    left: Arc<Mutex<VecDeque<Arc<Files>>>>,
    looks: Arc<AtomicU64>,
}

impl Round {
    fn new(files: impl IntoIterator<Item = Arc<Files>>) -> Self {
        Self { left: Arc::new(Mutex::new(files.into_iter().collect())), looks: Arc::default() }
    }

    /// Starts a thread that looks at what is left, and says when it has ended.
    fn look(&self, changed: &Arc<Changed>) -> oneshot::Receiver<Infallible> {
        let (end, ended) = oneshot::channel();
        let (left, looks, changed) = (Arc::clone(&self.left), Arc::clone(&self.looks), Arc::clone(changed));
        let started = thread::Builder::new().name("pod-files".into()).spawn(move || {
            let _end = end;
            let next = || lock(&left).pop_front();
            while let Some(files) = next() {
                if files.have_changed() {
                    changed(&files.port);
                }
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        if let Err(error) = started {
            warn!(%error, "changes of resolv.conf and host names are noticed late");
        }
        ended
    }
}

impl Files {
    fn new(port: PortId, places: Vec<Place>) -> Self {
        let there = places.clone();
        Self {
            port,
            places,
            look: Box::new(move || there.iter().map(Place::stamp).collect()),
            stamps: Mutex::default(),
            busy: AtomicBool::new(false),
            slow: AtomicBool::new(false),
        }
    }

    /// Looks at them. May hang; nobody else looks at them then.
    fn have_changed(&self) -> bool {
        if self.busy.swap(true, Ordering::AcqRel) {
            return false;
        }
        let started = Instant::now();
        let now = (self.look)();
        self.slow.store(started.elapsed() > SLOW, Ordering::Relaxed);
        let before = mem::replace(&mut *lock(&self.stamps), now.clone());
        self.busy.store(false, Ordering::Release);
        before != now
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;
    use crate::core::spec::tests::spec;

    /// Who was told of, in any order.
    fn teller() -> (Arc<Changed>, mpsc::Receiver<PortId>) {
        let (tell, told) = mpsc::channel();
        (Arc::new(move |id: &PortId| tell.send(id.clone()).unwrap()), told)
    }

    fn port(number: u64) -> PortId {
        format!("{number}-eth0").parse().unwrap()
    }

    /// Takes nobody for hung because the machine is busy.
    fn patient() -> FileWatch {
        FileWatch { patience: Duration::from_secs(60), ..FileWatch::default() }
    }

    /// A port whose file system does what `look` does.
    fn with(watch: &FileWatch, number: u64, look: impl Fn() + Send + Sync + 'static) {
        let mut files = Files::new(port(number), vec![Place::Ours("/nowhere".into())]);
        let there = files.look;
        files.look = Box::new(move || {
            look();
            there()
        });
        lock(&watch.ports).insert(port(number), Arc::new(files));
    }

    #[tokio::test]
    async fn a_file_that_changes_comes_or_goes_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let spec = PortSpec { resolv_conf: Some(path.clone()), ..spec() };
        let (watch, (changed, told)) = (patient(), teller());
        watch.add(&port(1), &spec).await;
        let round = async || {
            watch.round(&changed).await;
            told.try_iter().count()
        };
        assert_eq!(round().await, 0, "it is not there, as before");
        fs::write(&path, "nameserver 10.0.0.1").unwrap();
        assert_eq!([round().await, round().await], [1, 0]);
        // Through a rename, as editors and the kubelet write.
        fs::write(dir.path().join("new"), "nameserver 10.0.0.2").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!([round().await, round().await], [1, 0]);
        fs::remove_file(&path).unwrap();
        assert_eq!([round().await, round().await], [1, 0]);
        // Asking again changes nothing; asking for another file is another beginning.
        watch.add(&port(1), &spec).await;
        fs::write(&path, "").unwrap();
        assert_eq!(round().await, 1);
        watch.add(&port(1), &PortSpec { resolv_conf: Some("/nowhere".into()), ..spec }).await;
        fs::write(&path, "more").unwrap();
        assert_eq!(round().await, 0);
        watch.remove(&port(1));
        assert!(lock(&watch.ports).is_empty());
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_keeps_nobody_from_being_told() {
        let (watch, (changed, told)) = (FileWatch::default(), teller());
        // All that the first one is asked waits until the test lets go.
        let (let_go, hung) = mpsc::channel::<()>();
        let hung = Mutex::new(hung);
        with(&watch, 0, move || {
            let _ = lock(&hung).recv();
        });
        for number in 1..100 {
            with(&watch, number, || {});
        }
        watch.round(&changed).await;
        let soon = Duration::from_secs(60);
        let mut others: Vec<_> = (1..100).map(|_| told.recv_timeout(soon).unwrap()).collect();
        others.sort_unstable();
        others.dedup();
        assert_eq!(others.len(), 99, "all but the one that hangs, though it came first");
        // It holds one thread, however many rounds go by.
        watch.round(&changed).await;
        assert!(lock(&watch.ports)[&port(0)].busy.load(Ordering::Relaxed));
        assert!(told.try_recv().is_err());
        drop(let_go);
        assert_eq!(told.recv_timeout(soon), Ok(port(0)), "it is back");
    }

    #[tokio::test]
    async fn who_was_slow_comes_last() {
        let (watch, (changed, told)) = (patient(), teller());
        let (asked, order) = mpsc::channel();
        for number in 0..3 {
            let asked = asked.clone();
            with(&watch, number, move || {
                asked.send(number).unwrap();
            });
        }
        lock(&watch.ports)[&port(0)].slow.store(true, Ordering::Relaxed);
        watch.round(&changed).await;
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(told.try_iter().count(), 3);
    }
}
