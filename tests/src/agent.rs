// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real agent process with its own socket and bpffs, and its command line.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    bpffs::BpfFs,
    netns::Netns,
    poll,
    process::{Finished, Process, command_line, run, shell_code},
};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const CLI_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of the log is shown when a test fails.
const LOG_TAIL_LINES: usize = 60;

/// Which agent: each is named by a variable, which `cargo xtask` sets after it has built it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The one that is tested.
    #[default]
    This,
    /// Its next version, with another ABI: netagent's feature `next-abi`.
    Next,
    /// The same ABI with other programs: netagent's feature `next-programs`.
    NextPrograms,
}

impl Version {
    /// Its binary.
    pub fn binary(self) -> Result<PathBuf> {
        let (variable, build) = match self {
            Self::This => ("NETAGENT_BIN", "cargo build -p netagent --bin netagent"),
            Self::Next => {
                ("NETAGENT_NEXT_BIN", "cargo build -p netagent --bin netagent-next --features next-abi")
            }
            Self::NextPrograms => (
                "NETAGENT_NEXT_PROGRAMS_BIN",
                "cargo build -p netagent --bin netagent-next-programs --features next-programs",
            ),
        };
        let path = env::var_os(variable).map(PathBuf::from).ok_or_else(|| {
            anyhow!(
                "{variable} is not set: run the tests by `cargo xtask test`, or point it to what `{build}` makes"
            )
        })?;
        if !path.is_file() {
            bail!("{variable} names {}, which is not a file: build it by `{build}`", path.display());
        }
        Ok(path)
    }
}

/// The binary of the agent that is tested.
pub fn binary() -> Result<PathBuf> {
    Version::This.binary()
}

/// How to start an agent.
#[derive(Debug, Default)]
pub struct AgentBuilder {
    binary: Option<PathBuf>,
    netns: Option<PathBuf>,
    args: Vec<String>,
}

impl AgentBuilder {
    /// Another binary than `NETAGENT_BIN`.
    #[must_use]
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_owned());
        self
    }

    /// Runs it in a namespace instead of this process's, where a DaemonSet with hostNetwork would be.
    #[must_use]
    pub fn netns(mut self, netns: &Netns) -> Self {
        self.netns = Some(netns.path().to_owned());
        self
    }

    /// One more argument of `netagent run`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Makes folder and bpffs, starts the agent and waits until it answers.
    pub fn start(self) -> Result<Agent> {
        let mut agent = self.prepare()?;
        agent.start()?;
        Ok(agent)
    }

    /// Makes folder and bpffs without starting the agent.
    pub fn prepare(self) -> Result<Agent> {
        let binary = self.binary.map_or_else(binary, Ok)?;
        let dir =
            tempfile::Builder::new().prefix("natest-agent-").tempdir().context("cannot make a folder")?;
        let bpffs = BpfFs::mount(&dir.path().join("bpf"))?;
        Ok(Agent { process: None, bpffs, binary, netns: self.netns, args: self.args, dir })
    }
}

/// An agent of this test alone. Dropping kills it, unmounts its bpffs and, in a failing test, prints its last words.
#[derive(Debug)]
pub struct Agent {
    // Fields are dropped in this order: process, mount, folder.
    process: Option<Process>,
    bpffs: BpfFs,
    binary: PathBuf,
    netns: Option<PathBuf>,
    args: Vec<String>,
    dir: tempfile::TempDir,
}

impl Agent {
    /// A builder with the defaults.
    pub fn builder() -> AgentBuilder {
        AgentBuilder::default()
    }

    /// Starts the agent (again, on the same socket and bpffs) and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        let up = self.wait_until_it_answers();
        if up.is_err() {
            // One that does not answer is none.
            self.process = None;
        }
        up
    }

    /// Starts the agent without waiting for it.
    pub fn launch(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the agent runs already");
        }
        self.process = Some(Process::spawn_logged(&mut self.run_command(), &self.log_path())?);
        Ok(())
    }

    /// Waits until an agent that was launched answers.
    pub fn wait_until_it_answers(&mut self) -> Result<()> {
        let line = command_line(&self.run_command());
        let mut process = self.take_process()?;
        let up = poll::try_until("the agent to answer on its socket", START_TIMEOUT, || {
            if let Some(status) = process.try_wait()? {
                bail!("`{line}` ended with {}", shell_code(status));
            }
            Ok((self.cli(&["status"])?.code == 0).then_some(()))
        });
        self.process = Some(process);
        up.with_context(|| format!("the agent does not start; its log ends:\n{}", self.log_tail()))
    }

    /// Another version from the next start on, for the agent and the command line alike.
    pub fn set_version(&mut self, version: Version) -> Result<()> {
        self.binary = version.binary()?;
        Ok(())
    }

    /// Other arguments of `netagent run` from the next start on.
    pub fn set_args<S: Into<String>>(&mut self, args: impl IntoIterator<Item = S>) {
        self.args = args.into_iter().map(Into::into).collect();
    }

    /// `netagent run` with this agent's socket and bpffs, not started: for tests of failing starts.
    pub fn run_command(&self) -> Command {
        let mut command = match &self.netns {
            Some(netns) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", netns.display())).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command
            .arg("run")
            .arg("--socket")
            .arg(self.socket())
            .arg("--bpffs")
            .arg(self.bpffs.path())
            .args(&self.args);
        command
    }

    /// `netagent ARGS` on this agent's socket. The first argument is the subcommand.
    pub fn cli(&self, args: &[&str]) -> Result<Finished> {
        let (subcommand, rest) = args.split_first().ok_or_else(|| anyhow!("no subcommand given"))?;
        run(
            Command::new(&self.binary).arg(subcommand).arg("--socket").arg(self.socket()).args(rest),
            CLI_TIMEOUT,
        )
    }

    /// `netagent ARGS -o json`, parsed; any exit code but 0 is an error with the agent's words.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let args = [args, &["-o", "json"]].concat();
        let done = self.cli(&args)?;
        if done.code != 0 {
            bail!("`netagent {}` ended with {}: {}", args.join(" "), done.code, done.stderr.trim());
        }
        serde_json::from_str(&done.stdout)
            .with_context(|| format!("`netagent {}` did not print JSON: {}", args.join(" "), done.stdout))
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill9(&mut self) -> Result<()> {
        self.take_process()?.kill9().map(drop)
    }

    /// SIGTERM; returns how the process ended.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let mut process = self.take_process()?;
        process.signal(Signal::SIGTERM)?;
        process.wait(STOP_TIMEOUT).with_context(|| format!("the agent's log ends:\n{}", self.log_tail()))
    }

    /// Does `work` while the agent stands still (SIGSTOP), so that it mends nothing meanwhile.
    pub fn while_stopped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        /// Lets it go on, whatever becomes of the work.
        struct Stopped(Pid);
        impl Drop for Stopped {
            fn drop(&mut self) {
                let _ = kill(self.0, Signal::SIGCONT);
            }
        }
        // A child that nobody has waited for keeps its number.
        let pid = Pid::from_raw(self.pid().context("the agent does not run")?.cast_signed());
        kill(pid, Signal::SIGSTOP).context("cannot stop the agent")?;
        let _stopped = Stopped(pid);
        poll::try_until("all of the agent to stand still", STOP_TIMEOUT, || {
            Ok(stands_still(pid)?.then_some(()))
        })?;
        Ok(work())
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its API socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its working folder: socket, log, bpffs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its private bpffs.
    pub fn bpffs(&self) -> &BpfFs {
        &self.bpffs
    }

    /// Everything it wrote, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    fn take_process(&mut self) -> Result<Process> {
        self.process.take().ok_or_else(|| anyhow!("the agent does not run"))
    }
}

/// Whether every thread of a process is stopped (proc(5), `stat`: the state stands behind the name).
fn stands_still(pid: Pid) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two looks.
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
        if !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Agent {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the agent's log ends:\n{}\n---", self.log_tail());
        }
    }
}
