// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named network namespaces that end with their owner, and running things inside them.

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::process::{Finished, run, run_ok};

/// Enough for every configuration command, also on a loaded machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// A network namespace below `/run/netns`, removed on drop, also while a panic unwinds.
#[derive(Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
    ours: bool,
}

impl Netns {
    /// Makes a namespace with loopback up. Its name carries this process's id, a number and `tag`.
    pub fn new(tag: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("natest-{}-{}-{tag}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run_ok(Command::new("ip").args(["netns", "add", &name]), COMMAND_TIMEOUT)?;
        let netns = Self { path: Path::new("/run/netns").join(&name), name, ours: true };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// One that others made, and that they remove: a pod's, by its file.
    pub fn of_others(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { name: path.display().to_string(), path, ours: false }
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, `/run/netns/NAME`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command that runs inside. Its process id is the program's own, and `/sys` stays as it is outside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).arg(program);
        command
    }

    /// Runs words inside and gives what came of it.
    pub fn exec(&self, words: &[&str]) -> Result<Finished> {
        run(self.shell_free(words).as_mut(), COMMAND_TIMEOUT)
    }

    /// Runs words inside and gives stdout; any exit code but 0 is an error.
    pub fn exec_ok(&self, words: &[&str]) -> Result<String> {
        run_ok(self.shell_free(words).as_mut(), COMMAND_TIMEOUT)
    }

    /// `ip` inside, its arguments separated by spaces.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run_ok(self.command("ip").args(arguments.split_whitespace()), COMMAND_TIMEOUT)
    }

    /// `ip -j -d` inside, parsed: what an independent tool sees.
    pub fn ip_json(&self, arguments: &str) -> Result<Value> {
        self.json("ip", &format!("-j -d {arguments}"))
    }

    /// `tc -j` inside, parsed.
    pub fn tc_json(&self, arguments: &str) -> Result<Value> {
        self.json("tc", &format!("-j {arguments}"))
    }

    /// `bpftool -j` inside, parsed: `net show` speaks of this namespace.
    pub fn bpftool_json(&self, arguments: &str) -> Result<Value> {
        self.json("bpftool", &format!("-j {arguments}"))
    }

    /// Writes a sysctl below `net`, as in `ipv4/ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = Path::new("/proc/sys/net").join(key);
        self.run_inside(|| std::fs::write(&file, value))?
            .with_context(|| format!("cannot set {} in {}", file.display(), self.name))
    }

    /// Runs `work` on a thread of its own inside this namespace; a panic in it goes on here.
    pub fn run_inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| enter(&self.path).map(|()| work()));
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn shell_free(&self, words: &[&str]) -> Box<Command> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        let mut command = self.command(program);
        command.args(arguments);
        Box::new(command)
    }

    fn json(&self, program: &str, arguments: &str) -> Result<Value> {
        let text = run_ok(self.command(program).args(arguments.split_whitespace()), COMMAND_TIMEOUT)?;
        // Some versions print nothing at all for an empty list.
        let text = if text.trim().is_empty() { "[]" } else { &text };
        serde_json::from_str(text)
            .with_context(|| format!("`{program} {arguments}` did not print JSON: {text}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        // Not through `process::run`: an interrupt must not stop the clean-up, nor may Ctrl-C reach `ip`.
        match Command::new("ip").args(["netns", "del", &self.name]).process_group(0).output() {
            Ok(done) if done.status.success() => {}
            // A test may have deleted it itself.
            Ok(_) if !self.path.exists() => {}
            Ok(done) => {
                eprintln!(
                    "cannot delete netns {}: {}",
                    self.name,
                    String::from_utf8_lossy(&done.stderr).trim()
                );
            }
            Err(error) => eprintln!("cannot delete netns {}: {error}", self.name),
        }
    }
}

/// Moves the calling thread into the namespace. The thread has to end afterwards: it can serve nothing else.
#[expect(clippy::disallowed_methods, reason = "only called on threads that end with the work done inside")]
pub(crate) fn enter(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open netns {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter netns {}", path.display()))
}
