// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's serial console as lines with their time of arrival, and commands with an end marker.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::interrupt;

/// How often a wait looks for an interrupt.
const TICK: Duration = Duration::from_millis(50);

/// A connected console. A thread reads it until QEMU ends.
#[derive(Debug)]
pub(super) struct Console {
    stream: UnixStream,
    shared: Arc<Shared>,
    next_id: AtomicU32,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<(Instant, String)>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A list of lines is whole after every push.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Connects to QEMU's socket.
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        let reader = BufReader::new(stream.try_clone().context("cannot duplicate the console's descriptor")?);
        let shared = Arc::new(Shared::default());
        let lines = Arc::clone(&shared);
        thread::spawn(move || read_lines(reader, &lines));
        Ok(Self { stream, shared, next_id: AtomicU32::new(1) })
    }

    /// The first line after `skip` matches that `matches` makes something of, with its time of arrival.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        skip: usize,
        matches: impl Fn(&str) -> Option<T>,
    ) -> Result<(Instant, T)> {
        self.scan(what, timeout, |lines| {
            lines.iter().filter_map(|(at, line)| matches(line).map(|found| (*at, found))).nth(skip)
        })
    }

    /// Runs one command: its exit code and output.
    pub(super) fn command(&self, command: &str, timeout: Duration) -> Result<(i32, String)> {
        if command.contains('\n') {
            bail!("a command for the guest is one line: {command}");
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (begin, end) = (format!("@begin {id}"), format!("@end {id} "));
        self.write(&format!("{id} {command}\n"))?;
        self.scan(&format!("the guest to do `{command}`"), timeout, |lines| {
            let first = lines.iter().position(|(_, line)| *line == begin)? + 1;
            let rest = lines.get(first..)?;
            let last = rest.iter().position(|(_, line)| line.starts_with(&end))?;
            let code = rest.get(last)?.1.strip_prefix(&end)?.trim().parse().ok()?;
            Some((code, join(rest.get(..last)?)))
        })
    }

    /// Starts a shell on the console and disconnects, so that somebody else can connect.
    pub(super) fn hand_over(&self) -> Result<()> {
        self.write("0 @shell\n")?;
        self.scan("a shell on the guest's console", Duration::from_secs(20), |lines| {
            lines.iter().any(|(_, line)| line.contains("This is the guest.")).then_some(())
        })?;
        self.stream.shutdown(Shutdown::Both).context("cannot let go of the guest's console")
    }

    fn write(&self, text: &str) -> Result<()> {
        (&self.stream)
            .write_all(text.as_bytes())
            .context("cannot write to the guest's console: QEMU has ended")
    }

    /// Looks at the lines whenever new ones arrive.
    fn scan<T>(
        &self,
        what: &str,
        timeout: Duration,
        look: impl Fn(&[(Instant, String)]) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut lines = self.shared.lock();
        loop {
            if let Some(found) = look(&lines.all) {
                return Ok(found);
            }
            interrupt::check()?;
            let failure = if lines.closed {
                Some("QEMU ended")
            } else {
                (Instant::now() >= deadline).then_some("waited in vain")
            };
            if let Some(why) = failure {
                let tail = lines.all.get(lines.all.len().saturating_sub(30)..).unwrap_or_default();
                bail!(
                    "{why} ({:.1} s) for {what}; the console's last lines:\n{}",
                    timeout.as_secs_f64(),
                    join(tail)
                );
            }
            lines = self.shared.arrived.wait_timeout(lines, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn join(lines: &[(Instant, String)]) -> String {
    let text: Vec<&str> = lines
        .iter()
        .map(|(_, line)| line.as_str())
        // A lease that comes in between belongs to nobody's output.
        .filter(|line| !line.starts_with("@lease|"))
        .collect();
    text.join("\n").trim_end().to_owned()
}

fn read_lines(mut reader: BufReader<UnixStream>, shared: &Shared) {
    let mut bytes = Vec::new();
    // A reset of the connection is its end, too.
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        shared.lock().all.push((Instant::now(), line));
        shared.arrived.notify_all();
        bytes.clear();
    }
    shared.lock().closed = true;
    shared.arrived.notify_all();
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A guest that answers the first command with `answer`.
    fn guest(answer: &'static str) -> (tempfile::TempDir, Console) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("console");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"boot\r\n@ready\r\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        (dir, Console::connect(&socket).unwrap())
    }

    #[test]
    fn finds_code_and_output_between_other_lines() {
        let (_dir, console) = guest("noise\n@begin 1\none\n@lease|x\n\ntwo\n\n@end 1 3\n");
        console.wait("ready", SOON, 0, |line| (line == "@ready").then_some(())).unwrap();
        assert_eq!(console.command("words", SOON).unwrap(), (3, "one\n\ntwo".to_owned()));
    }

    #[test]
    fn an_end_of_qemu_ends_the_wait_with_its_last_words() {
        let (_dir, console) = guest("Kernel panic\n");
        let error = console.command("words", SOON).unwrap_err().to_string();
        assert!(error.starts_with("QEMU ended") && error.ends_with("Kernel panic"), "{error}");
    }
}
