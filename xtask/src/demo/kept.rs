// SPDX-License-Identifier: MIT OR Apache-2.0
//! A demo that stays: how to reach it from another terminal, and how to end it, also after its process was killed.

use std::{
    fs,
    io::{IsTerminal as _, Read as _, Write as _, stdin, stdout},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netagent_tests::{interrupt, poll};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::netagent::Stage;

/// On tmpfs, as what it speaks of: both end with the machine.
const RECORD: &str = "/run/netagent-demo.json";
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// Ctrl-]: leaves the console, as in telnet.
const ESCAPE: u8 = 0x1d;

/// An error while a demo is kept, or what one left is still there.
pub(super) fn check_none() -> Result<()> {
    match Record::read()? {
        None => Ok(()),
        Some(other) => {
            bail!("a demo is kept by process {}: end it by `cargo xtask demo --down`", other.owner.pid)
        }
    }
}

/// Says how to get at it, and stands until somebody wishes its end.
pub(super) fn keep(stage: Option<Stage>) -> Result<()> {
    let Some(stage) = stage else { return Ok(()) };
    let console = stage.guest.hand_over()?.to_owned();
    let record = Record::of(&stage, console)?;
    fs::write(RECORD, record.to_json().to_string()).with_context(|| format!("cannot write {RECORD}"))?;
    println!(
        "\nIt stays up. In another terminal:\n\
         \x20 cargo xtask demo --console          the guest's console (Ctrl-] leaves it)\n\
         \x20 sudo ip netns exec {} bash     the node's side\n\
         \x20 sudo ip netns exec {} bash      the pod\n\
         \x20 sudo {} status --socket {}\n\
         Ctrl-C here, or `cargo xtask demo --down`, ends it.",
        stage.topology.node.name(),
        stage.topology.pod.name(),
        stage.agent.binary().display(),
        stage.agent.socket().display()
    );
    while !interrupt::requested() {
        thread::sleep(Duration::from_millis(100));
    }
    drop(stage);
    fs::remove_file(RECORD).with_context(|| format!("cannot remove {RECORD}"))?;
    println!("The demo is taken down.");
    Ok(())
}

/// `demo --down`: asks the process that keeps it, or does its work if it is gone.
pub(super) fn down() -> Result<()> {
    let record = Record::read()?.ok_or_else(|| anyhow!("no demo is kept"))?;
    if is_alive(record.owner) {
        kill(record.owner.kernel_pid()?, Signal::SIGTERM)
            .with_context(|| format!("cannot end process {}", record.owner.pid))?;
        let gone = || (!Path::new(RECORD).exists() && !is_alive(record.owner)).then_some(());
        poll::wait_until("the demo to be taken down", END_TIMEOUT, gone)?;
        println!("The demo is taken down.");
        return Ok(());
    }
    println!("Process {}, which kept the demo, is gone; taking down what it left.", record.owner.pid);
    for child in record.children {
        if is_alive(child) {
            kill(child.kernel_pid()?, Signal::SIGKILL)
                .with_context(|| format!("cannot end process {}", child.pid))?;
        }
    }
    for name in record.netns.iter().filter(|name| Path::new("/run/netns").join(name).exists()) {
        let done = Command::new("ip").args(["netns", "del", name]).output().context("cannot run ip")?;
        if !done.status.success() {
            bail!("cannot delete netns {name}: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
    }
    // Not mounted any more: nothing to do.
    umount2(&record.bpffs, MntFlags::MNT_DETACH).ok();
    for dir in record.dirs.iter().filter(|dir| dir.exists()) {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::remove_file(RECORD).with_context(|| format!("cannot remove {RECORD}"))
}

/// `demo --console`: this terminal becomes the guest's.
pub(super) fn console() -> Result<()> {
    let record = Record::read()?
        .filter(|record| is_alive(record.owner))
        .ok_or_else(|| anyhow!("no demo is kept: start one by `cargo xtask demo --keep`"))?;
    if !stdin().is_terminal() {
        bail!("stdin is not a terminal");
    }
    let stream = UnixStream::connect(&record.console)
        .with_context(|| format!("cannot connect to the console at {}", record.console.display()))?;
    println!("Connected to the guest's console; Ctrl-] leaves it.\r");
    let _raw = RawTerminal::enter()?;
    // A new prompt.
    (&stream).write_all(b"\n").context("cannot write to the console")?;
    let from_guest = stream.try_clone().context("cannot duplicate the console's descriptor")?;
    thread::spawn(move || copy_to_terminal(from_guest));
    let mut byte = [0];
    while stdin().read(&mut byte).context("cannot read from the terminal")? == 1 {
        if byte == [ESCAPE] || (&stream).write_all(&byte).is_err() {
            break;
        }
    }
    Ok(())
}

fn copy_to_terminal(mut from: UnixStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let text = buffer.get(..length).unwrap_or_default();
        if stdout().write_all(text).and_then(|()| stdout().flush()).is_err() {
            return;
        }
    }
}

/// A terminal that hands over every key as it comes, until dropped.
struct RawTerminal {
    before: String,
}

impl RawTerminal {
    fn enter() -> Result<Self> {
        let before = stty(&["-g"])?;
        stty(&["raw", "-echo"])?;
        Ok(Self { before: before.trim().to_owned() })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        stty(&[&self.before]).ok();
        println!();
    }
}

fn stty(args: &[&str]) -> Result<String> {
    let done = Command::new("stty").args(args).stdin(std::process::Stdio::inherit()).output();
    let done = done.context("cannot run stty")?;
    if !done.status.success() {
        bail!("stty: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A process that cannot be mistaken for a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    pid: u32,
    /// Clock ticks after boot (proc_pid_stat(5), field 22).
    started: u64,
}

impl Identity {
    fn of(pid: u32) -> Result<Self> {
        let file = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let started = started(&stat).ok_or_else(|| anyhow!("{file} has no start time"))?;
        Ok(Self { pid, started })
    }

    fn kernel_pid(self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.pid).context("pid")?))
    }
}

/// The name, in parentheses, may hold spaces: fields are counted from its end.
fn started(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

fn is_alive(process: Identity) -> bool {
    Identity::of(process.pid).is_ok_and(|now| now == process)
}

/// What `--console` and `--down` have to know.
struct Record {
    owner: Identity,
    children: Vec<Identity>,
    netns: Vec<String>,
    bpffs: PathBuf,
    console: PathBuf,
    /// Working folders, which the owner would have removed.
    dirs: Vec<PathBuf>,
}

impl Record {
    fn of(stage: &Stage, console: PathBuf) -> Result<Self> {
        let children = stage.agent.pid().into_iter().chain([stage.guest.pid()]);
        Ok(Self {
            owner: Identity::of(std::process::id())?,
            children: children.map(Identity::of).collect::<Result<_>>()?,
            netns: [&stage.topology.node, &stage.topology.pod].map(|netns| netns.name().to_owned()).to_vec(),
            bpffs: stage.agent.bpffs().path().to_owned(),
            dirs: [stage.agent.dir(), stage.guest.dir(), stage.topology.dir()].map(Path::to_owned).to_vec(),
            console,
        })
    }

    fn read() -> Result<Option<Self>> {
        let text = match fs::read_to_string(RECORD) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {RECORD}")),
        };
        let parsed = serde_json::from_str(&text).ok().as_ref().and_then(Self::from_json);
        parsed.map(Some).ok_or_else(|| anyhow!("{RECORD} is damaged: remove it"))
    }

    fn to_json(&self) -> Value {
        let process = |one: &Identity| json!({"pid": one.pid, "started": one.started});
        json!({
            "owner": process(&self.owner),
            "children": self.children.iter().map(process).collect::<Vec<_>>(),
            "netns": self.netns,
            "bpffs": self.bpffs,
            "console": self.console,
            "dirs": self.dirs,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let process = |one: &Value| {
            Some(Identity {
                pid: u32::try_from(one["pid"].as_u64()?).ok()?,
                started: one["started"].as_u64()?,
            })
        };
        let texts = |key: &str| {
            let listed = value[key].as_array()?.iter();
            listed.map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        Some(Self {
            owner: process(&value["owner"])?,
            children: value["children"].as_array()?.iter().map(process).collect::<Option<_>>()?,
            netns: texts("netns")?,
            bpffs: value["bpffs"].as_str()?.into(),
            console: value["console"].as_str()?.into(),
            dirs: texts("dirs")?.into_iter().map(PathBuf::from).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(is_alive(me));
        assert!(!is_alive(Identity { started: me.started + 1, ..me }));
        assert_eq!(started("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"), Some(4711));
    }

    #[test]
    fn the_record_round_trips() {
        let one = Identity { pid: 7, started: 9 };
        let record = Record {
            owner: one,
            children: vec![one],
            netns: vec!["a".to_owned()],
            bpffs: "/b".into(),
            console: "/c".into(),
            dirs: vec!["/d".into()],
        };
        let again = Record::from_json(&record.to_json()).unwrap();
        assert_eq!((again.owner, again.children, again.netns), (one, vec![one], vec!["a".to_owned()]));
        assert_eq!((again.console, again.dirs), ("/c".into(), vec!["/d".into()]));
        assert!(Record::from_json(&json!({"owner": 1})).is_none());
    }
}
