// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pod's resolv.conf and host name: given by path, or found by the path of its namespace.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::warn;

use crate::{
    core::{
        hand_off::{MAX_SEARCH, MAX_SERVERS},
        pod::Dns,
        spec::PortSpec,
    },
    sys::regular_file::{self, FileError, Stamp},
};

/// More than any real resolv.conf, in bytes; a pod may put anything behind its path.
const LIMIT: u64 = 64 * 1024;
/// Bytes of a name (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
/// Reads of one file under way at one time; more are waiting for a file system that does not answer.
const MAX_READS: usize = 4;
/// Files that are remembered as told of.
const MAX_TOLD: usize = 1024;
/// A disk answers in milliseconds. A pod's own file system (FUSE, a share) may never do so.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file of the pod that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PodFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its file system does not answer.
    #[error("read {0}: its file system does not answer; mend or unmount that")]
    Hangs(PathBuf),
    /// The thread that reads it failed.
    #[error("read {path} on a thread")]
    Thread {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Where a file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a path that only the administrator can write to.
    Ours(PathBuf),
    /// Below a root that the pod can write to, and that none of its links may lead out of.
    Pod { root: PathBuf, file: PathBuf },
}

impl Place {
    /// The files that a port's guest is told of.
    pub(super) fn of(spec: &PortSpec) -> Vec<Self> {
        let etc = |file| Self::in_etc(&spec.netns, file);
        let given = spec.resolv_conf.as_deref().map(Self::given);
        let dns = if spec.hand_off.replaces_dns() { None } else { given.or_else(|| etc("resolv.conf")) };
        let hostname = if spec.hostname.is_some() { None } else { etc("hostname") };
        dns.into_iter().chain(hostname).collect()
    }

    /// What tells its content from the next; why there is none, as an error number. May hang with the pod's file
    /// system.
    pub(super) fn stamp(&self) -> Result<Stamp, Option<i32>> {
        let stamp = match self {
            Self::Ours(path) => regular_file::stamp(path),
            Self::Pod { root, file } => regular_file::stamp_below(root, file),
        };
        stamp.map_err(|e| e.raw_os_error())
    }

    /// A file that was given. Below a process's root it is what that process sees, whoever gave it: links there are the
    /// pod's to write.
    fn given(path: &Path) -> Self {
        let below = path.strip_prefix("/proc").ok().and_then(|rest| {
            let mut parts = rest.components();
            let process = parts.next()?;
            let is_root = parts.next()?.as_os_str() == "root";
            let root = Path::new("/proc").join(process).join("root");
            is_root.then(|| Self::Pod { root, file: parts.as_path().to_owned() })
        });
        below.unwrap_or_else(|| Self::Ours(path.to_owned()))
    }

    /// A file of the pod's `/etc`: below the root of a process, when its namespace was named by that process, or in
    /// ip-netns(8)'s directory for a named one.
    fn in_etc(netns: &Path, file: &str) -> Option<Self> {
        if let Some(process) = netns.to_str().and_then(|p| p.strip_suffix("/ns/net"))
            && process.starts_with("/proc/")
        {
            return Some(Self::Pod {
                root: Path::new(process).join("root"),
                file: Path::new("etc").join(file),
            });
        }
        let name = netns.strip_prefix("/run/netns").or_else(|_| netns.strip_prefix("/var/run/netns")).ok()?;
        Some(Self::Ours(Path::new("/etc/netns").join(name).join(file)))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Ours(path) => path.clone(),
            Self::Pod { root, file } => root.join(file),
        }
    }

    fn read(&self) -> Result<Option<Vec<u8>>, FileError> {
        match self {
            Self::Ours(path) => match regular_file::read(path, LIMIT) {
                Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
                other => other.map(Some),
            },
            Self::Pod { root, file } => regular_file::read_below(root, file, LIMIT),
        }
    }
}

/// Name servers and search list: of the file that was given, else of the pod's own, else none.
///
/// # Errors
/// When a file is there, or was given, and cannot be read.
pub(super) async fn dns(netns: &Path, given: Option<&Path>) -> Result<Dns, PodFileError> {
    let (path, text) = match given {
        Some(given) => {
            let place = Place::given(given);
            let missing = || FileError::Read {
                path: given.to_owned(),
                source: io::Error::from(io::ErrorKind::NotFound),
            };
            let text = on_a_thread(given, PATIENCE, move || place.read()).await?.ok_or_else(missing)?;
            (given.to_owned(), text)
        }
        None => match found(netns, "resolv.conf").await? {
            Some(found) => found,
            None => return Ok(Dns::default()),
        },
    };
    let (dns, oddities) = parse(&text);
    if !oddities.is_empty() {
        tell_once(&path, &oddities.join("; "));
    }
    Ok(dns)
}

/// The host name: the one given, else the pod's own, else none.
///
/// # Errors
/// When the pod's file is there and cannot be read.
pub(super) async fn hostname(netns: &Path, given: Option<&str>) -> Result<Option<String>, PodFileError> {
    if let Some(name) = given {
        return Ok(Some(name.to_owned()));
    }
    let Some((path, text)) = found(netns, "hostname").await? else { return Ok(None) };
    let name = String::from_utf8_lossy(&text);
    let name = name.lines().next().unwrap_or_default().trim();
    if name.len() > MAX_NAME {
        tell_once(&path, "the name has more than 253 bytes and is left out");
        return Ok(None);
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// What resolvers take of a resolv.conf, and in words what is left out of it. They go on after a line that they do not
/// know, so the pod works, and so must its guest.
fn parse(text: &[u8]) -> (Dns, Vec<String>) {
    let mut oddities = Vec::new();
    let whole = if text.len() as u64 == LIMIT {
        oddities.push(format!("all behind its first {LIMIT} bytes is left out"));
        // The last line may be half a one.
        text.iter().rposition(|b| *b == b'\n').and_then(|end| text.get(..end)).unwrap_or_default()
    } else {
        text
    };
    let (config, errors) = resolv_conf::Config::parse_with_errors(whole);
    if !errors.is_empty() {
        oddities.push(format!("{} words or lines in it are not understood", errors.len()));
    }
    let mut dns = Dns {
        servers: config.nameservers.iter().map(IpAddr::from).collect(),
        search: config.get_last_search_or_domain().filter(|name| name.len() <= MAX_NAME).cloned().collect(),
    };
    let long = config.get_last_search_or_domain().count() - dns.search.len();
    if long > 0 {
        oddities.push(format!("{long} search domains of more than {MAX_NAME} bytes are left out"));
    }
    for (what, there, limit) in
        [("name servers", dns.servers.len(), MAX_SERVERS), ("search domains", dns.search.len(), MAX_SEARCH)]
    {
        if there > limit {
            oddities.push(format!("{} of its {there} {what} are left out", there - limit));
        }
    }
    dns.servers.truncate(MAX_SERVERS);
    dns.search.truncate(MAX_SEARCH);
    (dns, oddities)
}

/// A file of the pod's `/etc`, and where it was found.
async fn found(netns: &Path, file: &str) -> Result<Option<(PathBuf, Vec<u8>)>, PodFileError> {
    let Some(place) = Place::in_etc(netns, file) else { return Ok(None) };
    let path = place.path();
    let text = on_a_thread(&path, PATIENCE, move || place.read()).await?;
    Ok(text.map(|text| (path, text)))
}

/// Reads on a thread of its own: one that never comes back costs its port a failed pass, and no other port a thread of
/// the runtime.
async fn on_a_thread<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    read: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, PodFileError> {
    let hangs = || PodFileError::Hangs(path.to_owned());
    let thread = |source| PodFileError::Thread { path: path.to_owned(), source };
    let under_way = UnderWay::enter(path).ok_or_else(hangs)?;
    let (send, receive) = oneshot::channel();
    thread::Builder::new()
        .name("pod-file".into())
        .spawn(move || {
            let result = read();
            drop(under_way);
            // The receiver is gone when its patience has ended: nobody wants the result then.
            let _ = send.send(result);
        })
        .map_err(thread)?;
    match tokio::time::timeout(patience, receive).await {
        Ok(Ok(result)) => Ok(result?),
        Ok(Err(_)) => Err(thread(io::Error::other("it panicked"))),
        Err(_) => Err(hangs()),
    }
}

static UNDER_WAY: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// One read that is under way. Bounds the threads that a dead file system can hold.
struct UnderWay(PathBuf);

impl UnderWay {
    fn enter(path: &Path) -> Option<Self> {
        let mut reads = lock(&UNDER_WAY);
        let count = reads.entry(path.to_owned()).or_default();
        if *count == MAX_READS {
            return None;
        }
        *count += 1;
        Some(Self(path.to_owned()))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut reads = lock(&UNDER_WAY);
        if let Some(count) = reads.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                reads.remove(&self.0);
            }
        }
    }
}

static TOLD: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());

/// Warns when there is something new to say of a file: its port is looked at again and again.
fn tell_once(path: &Path, oddities: &str) {
    let mut told = lock(&TOLD);
    if told.get(path).is_some_and(|before| before == oddities) {
        return;
    }
    if told.len() >= MAX_TOLD {
        told.clear();
    }
    told.insert(path.to_owned(), oddities.to_owned());
    drop(told);
    warn!(path = %path.display(), %oddities, "took from a pod's file what can be used");
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

    fn servers(dns: &Dns) -> Vec<String> {
        dns.servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_namespace_s_path_tells_where_its_files_are() {
        let etc = |p: &str| Place::in_etc(Path::new(p), "hostname");
        let pod = Place::Pod { root: "/proc/42/root".into(), file: "etc/hostname".into() };
        assert_eq!(etc("/proc/42/ns/net"), Some(pod));
        assert_eq!(etc("/run/netns/pod"), Some(Place::Ours("/etc/netns/pod/hostname".into())));
        assert_eq!(etc("/var/run/netns/cni-1"), Some(Place::Ours("/etc/netns/cni-1/hostname".into())));
        assert_eq!(etc("/somewhere/else"), None);
    }

    #[test]
    fn a_given_file_below_a_pod_s_root_stays_there() {
        let pod = |file: &str| Place::Pod { root: "/proc/42/root".into(), file: file.into() };
        let given = |path: &str| Place::given(Path::new(path));
        assert_eq!(given("/proc/42/root/etc/resolv.conf"), pod("etc/resolv.conf"));
        assert_eq!(given("/proc/42/root/../../etc/shadow"), pod("../../etc/shadow"));
        for ours in ["/etc/resolv.conf", "/proc/42/cwd/resolv.conf", "/proc/root"] {
            assert_eq!(given(ours), Place::Ours(ours.into()));
        }
    }

    #[test]
    fn what_is_given_is_not_looked_for() {
        let mut spec = spec();
        let paths = |spec: &PortSpec| Place::of(spec).iter().map(Place::path).collect::<Vec<_>>();
        assert_eq!(paths(&spec), [Path::new("/etc/netns/pod/resolv.conf")], "the host name is given");
        spec.hostname = None;
        spec.resolv_conf = Some("/given".into());
        assert_eq!(paths(&spec), [Path::new("/given"), Path::new("/etc/netns/pod/hostname")]);
        spec.hand_off.dns = vec!["10.0.0.1".parse().unwrap()];
        assert_eq!(paths(&spec).len(), 2, "its search list still counts");
        spec.hand_off.search = vec!["lan".into()];
        assert_eq!(paths(&spec), [Path::new("/etc/netns/pod/hostname")]);
    }

    #[tokio::test]
    async fn a_process_s_root_is_where_its_files_are() {
        // This process's own root: what is found there is what is at the plain path.
        let netns = format!("/proc/{}/ns/net", std::process::id());
        let found = found(Path::new(&netns), "passwd").await.unwrap().map(|(_, text)| text);
        assert_eq!(found, Some(fs::read("/etc/passwd").unwrap()));
        assert_eq!(super::found(Path::new(&netns), "no-such-file").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_resolv_conf_that_was_given_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "nameserver 10.96.0.10\nnameserver fd00::a\nsearch a.svc b.svc\noptions ndots:5\n")
            .unwrap();
        let dns = dns(Path::new("/nowhere"), Some(&path)).await.unwrap();
        assert_eq!(servers(&dns), ["10.96.0.10", "fd00::a"]);
        assert_eq!(dns.search, ["a.svc", "b.svc"]);
    }

    #[tokio::test]
    async fn a_file_that_was_given_must_be_there() {
        let error = dns(Path::new("/nowhere"), Some(Path::new("/nowhere/resolv.conf"))).await.unwrap_err();
        assert_eq!(error.to_string(), "read /nowhere/resolv.conf");
        assert_eq!(dns(Path::new("/nowhere"), None).await.unwrap(), Dns::default());
        assert_eq!(hostname(Path::new("/nowhere"), None).await.unwrap(), None);
    }

    #[test]
    fn what_a_resolver_passes_over_is_passed_over() {
        let text = b"nameserver 10.0.0.1 and more\noptions foo:bar ndots:5\nnameserver none\nnot a word\n\
            domain first.example\nsearch \xff\nsearch a.example  b.example\n; nameserver 10.0.0.9\n";
        let (dns, oddities) = parse(text);
        assert_eq!(servers(&dns), ["10.0.0.1"]);
        assert_eq!(dns.search, ["a.example", "b.example"]);
        assert_eq!(oddities, ["5 words or lines in it are not understood"]);
        assert_eq!(parse(b"nameserver 10.0.0.1\noptions ndots:5\n").1, [""; 0]);
        assert_eq!(parse(b"").0, Dns::default());
    }

    #[test]
    fn no_more_is_taken_than_a_guest_can_use() {
        let servers: String = (0..20).map(|i| format!("nameserver 10.0.0.{i}\n")).collect();
        let long = "x".repeat(MAX_NAME + 1);
        let names: String = (0..40).map(|i| format!(" d{i}.example")).collect();
        let (dns, oddities) = parse(format!("{servers}search {long}{names}\n").as_bytes());
        assert_eq!((dns.servers.len(), dns.search.len()), (MAX_SERVERS, MAX_SEARCH));
        assert_eq!(dns.search.first().map(String::as_str), Some("d0.example"));
        assert_eq!(
            oddities,
            [
                "1 search domains of more than 253 bytes are left out",
                "12 of its 20 name servers are left out",
                "8 of its 40 search domains are left out",
            ]
        );
    }

    #[test]
    fn a_line_that_the_limit_cuts_is_left_out() {
        let mut text = b"nameserver 10.0.0.1\n".to_vec();
        text.resize(LIMIT as usize - 20, b'\n');
        text.extend(b"nameserver 10.0.0.12");
        let (dns, oddities) = parse(&text);
        assert_eq!(servers(&dns), ["10.0.0.1"]);
        assert_eq!(oddities, ["all behind its first 65536 bytes is left out"]);
    }

    #[tokio::test]
    async fn a_dead_file_system_costs_a_few_threads_and_no_more() {
        let path = Path::new("/a/dead/share");
        let mut writers = Vec::new();
        for _ in 0..MAX_READS {
            let (revive, dead) = mpsc::channel::<()>();
            writers.push(revive);
            let hung = on_a_thread(path, Duration::from_millis(1), move || {
                let _ = dead.recv();
                Ok(())
            });
            assert!(matches!(hung.await, Err(PodFileError::Hangs(_))));
        }
        assert!(UnderWay::enter(path).is_none());
        assert!(UnderWay::enter(Path::new("/another")).is_some());
        drop(writers);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while lock(&UNDER_WAY).contains_key(path) {
            assert!(std::time::Instant::now() < deadline, "reads that ended still count");
            thread::yield_now();
        }
        on_a_thread(path, PATIENCE, || Ok(())).await.unwrap();
    }
}
