// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands with a deadline, and long-running processes that end with their owner.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::poll;

/// What a finished command left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; 128 + signal number for one that a signal ended, as shells have it.
    pub code: i32,
    /// What it wrote, with invalid UTF-8 replaced.
    pub stdout: String,
    /// What it wrote, with invalid UTF-8 replaced.
    pub stderr: String,
}

/// The command line as a person would type it.
pub fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// Runs `command` to its end, in a process group of its own, with nothing on stdin. Killed at the deadline.
pub fn run(command: &mut Command, timeout: Duration) -> Result<Finished> {
    run_on(command, Stdio::null(), timeout)
}

/// As [`run`], with `input` on stdin.
pub fn run_fed(command: &mut Command, input: &[u8], timeout: Duration) -> Result<Finished> {
    // A file, not a pipe: a program that does not read all of it cannot hang whoever writes.
    let mut file = tempfile::tempfile().context("cannot make a file for stdin")?;
    file.write_all(input).and_then(|()| file.rewind()).context("cannot write what goes to stdin")?;
    run_on(command, file.into(), timeout)
}

fn run_on(command: &mut Command, stdin: Stdio, timeout: Duration) -> Result<Finished> {
    let line = command_line(command);
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command)?;
    let stdout = process.child.stdout.take().map(collect);
    let stderr = process.child.stderr.take().map(collect);
    let status = process.wait(timeout).with_context(|| format!("`{line}`"));
    // Killed before the pipes are read to their end: a command that hangs would keep them open.
    drop(process);
    let (stdout, stderr) = (join(stdout), join(stderr));
    let status = status.map_err(|error| match (stdout.trim(), stderr.trim()) {
        ("", "") => error,
        (out, err) => error.context(format!("it said: {out} {err}")),
    })?;
    Ok(Finished { code: shell_code(status), stdout, stderr })
}

/// Runs `command` and gives its stdout; anything but exit code 0 is an error with what it said.
pub fn run_ok(command: &mut Command, timeout: Duration) -> Result<String> {
    let line = command_line(command);
    let done = run(command, timeout)?;
    if done.code != 0 {
        let said = if done.stderr.trim().is_empty() { &done.stdout } else { &done.stderr };
        bail!("`{line}` ended with {}: {}", done.code, said.trim());
    }
    Ok(done.stdout)
}

/// A running process in its own process group (so that Ctrl-C on the terminal is not for it). Dropping kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with the stdio it carries.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", command_line(command)))?;
        Ok(Self { child, name, ended: None })
    }

    /// Starts `command` with stdout and stderr appended to the file `log`.
    pub fn spawn_logged(command: &mut Command, log: &Path) -> Result<Self> {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let err: File = out.try_clone().context("cannot duplicate the log's descriptor")?;
        Self::spawn(command.stdin(Stdio::null()).stdout(out).stderr(err))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {} (pid {})", self.name, self.pid());
        poll::try_until(&what, timeout, || self.try_wait())
    }

    /// Sends a signal to the process itself, not to its group.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_wait()?.is_some() {
            bail!("{} (pid {}) has ended already", self.name, self.pid());
        }
        kill(self.kernel_pid()?, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        self.ended = Some(status);
        Ok(status)
    }

    fn kernel_pid(&self) -> Result<Pid> {
        i32::try_from(self.pid())
            .map(Pid::from_raw)
            .map_err(|_| anyhow!("pid {} is out of range", self.pid()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Until it is reaped its id names it and its group, and nobody else.
        if matches!(self.try_wait(), Ok(None))
            && let Ok(pid) = self.kernel_pid()
        {
            nix::sys::signal::killpg(pid, Signal::SIGKILL).ok();
            self.child.wait().ok();
        }
    }
}

/// The exit code as a shell reports it.
pub fn shell_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks has given what it had.
        pipe.read_to_end(&mut bytes).ok();
        bytes
    })
}

fn join(reader: Option<thread::JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn keeps_code_and_both_outputs() {
        let done = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), SOON).unwrap();
        assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (3, "out\n", "err\n"));
    }

    #[test]
    fn a_failure_names_the_command_and_its_words() {
        let error = run_ok(Command::new("sh").args(["-c", "echo no >&2; exit 2"]), SOON).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo no >&2; exit 2` ended with 2: no");
    }

    #[test]
    fn the_deadline_kills_the_whole_group() {
        let error = run(Command::new("sh").args(["-c", "sleep 600 & sleep 600"]), Duration::from_millis(50))
            .unwrap_err();
        assert!(format!("{error:#}").contains("waited 0.1 s in vain for the end of sh"), "{error:#}");
    }

    #[test]
    fn dropping_ends_the_process() {
        let process = Process::spawn(Command::new("sleep").arg("600")).unwrap();
        let proc = format!("/proc/{}", process.pid());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }
}
