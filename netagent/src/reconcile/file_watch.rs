// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notices when a pod's resolv.conf or host name changes: by a stamp of each file, now and then.
//!
//! Not inotify: it tells nothing of a file that is replaced behind a link, nor of one on a share, and its marks are on
//! inodes, of which a pod's links can lead to any.

use std::{
    convert::Infallible,
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    pace::pace,
    pod_files::Place,
    ports::Ports,
    rounds::{Rounds, Sight, Told, Watched, lock},
};
use crate::{
    core::{ids::PortId, spec::PortSpec},
    sys::regular_file::Stamp,
};

/// How often the files are looked at, as long as there are few ports.
const EVERY: Duration = Duration::from_secs(1);
/// Ports a second whose files are looked at when there are many. Two files take 13 us: 0.13 % of a CPU.
const PORTS_A_SECOND: u32 = 100;

/// The files of all ports that have any.
pub(super) struct FileWatch(Rounds<Files>);

impl Default for FileWatch {
    fn default() -> Self {
        Self(Rounds::new("pod-files"))
    }
}

/// The files of one port.
struct Files {
    places: Vec<Place>,
    stamps: Mutex<Stamps>,
}

/// Of each place, in their order; empty when they have not been looked at.
type Stamps = Vec<Result<Stamp, Option<i32>>>;

impl Ports {
    /// Looks at a port as soon as a file changes that its guest is told of.
    pub fn watch_files(&self) -> impl Future<Output = Infallible> + use<> {
        let ports = self.clone();
        async move {
            let stirred = ports.clone();
            let changed: Arc<Told> = Arc::new(move |id| stirred.stir(Some(id)));
            loop {
                tokio::time::sleep(pace(EVERY, ports.files.0.len(), PORTS_A_SECOND)).await;
                ports.files.0.round(&changed).await;
            }
        }
    }
}

impl FileWatch {
    /// Watches the files of a port from now on; once, until it is asked for with others. Before they are read: what
    /// changes after that is noticed.
    pub(super) async fn add(&self, port: &PortId, spec: &PortSpec) {
        let places = Place::of(spec);
        if places.is_empty() {
            self.0.remove(port);
            return;
        }
        if self.0.get(port).is_some_and(|known| known.sight.places == places) {
            return;
        }
        let files = |places| Arc::new(Watched::new(port.clone(), Files { places, stamps: Mutex::default() }));
        let mut watched = files(places.clone());
        if !self.0.look(&watched).await {
            // Whenever that look ends, it may be after the files were read: a round makes the first one.
            watched = files(places);
        }
        self.0.insert(watched);
    }

    /// Forgets a port.
    pub(super) fn remove(&self, port: &PortId) {
        self.0.remove(port);
    }
}

impl Sight for Files {
    /// Whether they have changed since the last look.
    fn calls(&self) -> bool {
        let now: Stamps = self.places.iter().map(Place::stamp).collect();
        let before = mem::replace(&mut *lock(&self.stamps), now.clone());
        before != now
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;
    use crate::core::spec::tests::spec;

    #[tokio::test]
    async fn a_file_that_changes_comes_or_goes_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let port: PortId = "1-eth0".parse().unwrap();
        let spec = PortSpec { resolv_conf: Some(path.clone()), ..spec() };
        let mut watch = FileWatch::default();
        // Takes nobody for hung because the machine is busy.
        watch.0.patience = Duration::from_secs(60);
        let (tell, told) = mpsc::channel();
        let changed: Arc<Told> = Arc::new(move |id: &PortId| tell.send(id.clone()).unwrap());
        watch.add(&port, &spec).await;
        let round = async || {
            watch.0.round(&changed).await;
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
        watch.add(&port, &spec).await;
        fs::write(&path, "").unwrap();
        assert_eq!(round().await, 1);
        watch.add(&port, &PortSpec { resolv_conf: Some("/nowhere".into()), ..spec }).await;
        fs::write(&path, "more").unwrap();
        assert_eq!(round().await, 0);
        watch.remove(&port);
        assert_eq!(watch.0.len(), 0);
    }
}
