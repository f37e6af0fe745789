// SPDX-License-Identifier: MIT OR Apache-2.0
//! One line per step: alive on a terminal, a plain line at its start and end elsewhere.

use std::{
    io::{BufRead as _, BufReader, IsTerminal as _, Read, stderr},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// A step that runs. Its line says how it ended; one that is dropped unfinished leaves no line.
pub(crate) struct Step {
    bar: ProgressBar,
    name: String,
    started: Instant,
}

/// What a command of a step said, and how it ended.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    /// stdout and stderr, line by line as they came.
    pub(crate) output: String,
}

impl Step {
    pub(crate) fn start(name: impl Into<String>) -> Self {
        let name = name.into();
        let bar = if stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:<10} {elapsed:>4}  {wide_msg:.dim}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { bar, name, started: Instant::now() }
    }

    /// What it is at: seen on a terminal only.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// A line for those without a terminal, where notes are not seen.
    pub(crate) fn plain(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        }
    }

    /// Ends the step: name, verdict, seconds, and what is worth knowing.
    pub(crate) fn end(self, verdict: &str, detail: &str) {
        self.bar.finish_and_clear();
        let line = format!(
            "{:<10} {verdict:<8} {:>6.1} s  {detail}",
            self.name,
            self.started.elapsed().as_secs_f64()
        );
        eprintln!("{}", line.trim_end());
    }

    /// Runs `command` to its end; each line it says is handed to `on_line` and kept.
    pub(crate) fn run(&self, command: &mut Command, mut on_line: impl FnMut(&Self, &str)) -> Result<Outcome> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let (sender, lines) = mpsc::channel();
        let readers = [
            child.stdout.take().map(|pipe| forward(pipe, sender.clone())),
            child.stderr.take().map(|pipe| forward(pipe, sender.clone())),
        ];
        drop(sender);
        let mut output = String::new();
        for line in lines {
            on_line(self, &line);
            output.push_str(&line);
            output.push('\n');
        }
        for reader in readers.into_iter().flatten() {
            reader.join().ok();
        }
        let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
        Ok(Outcome { status, output })
    }
}

/// Sends each line of `pipe`; a carriage return ends a line too, as progress bars write it.
fn forward(pipe: impl Read + Send + 'static, lines: mpsc::Sender<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&bytes);
            for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
                if lines.send(line.to_owned()).is_err() {
                    return;
                }
            }
            bytes.clear();
        }
    })
}
