// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CNI plugin: a runtime starts this binary for each pod, and the agent does the work.
//!
//! Standard output is one JSON object or nothing. Callers decide what is read here, so nothing here may panic, as far as
//! lints can tell.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod agent;
mod ask;
mod call;
mod carry_out;
mod environment;
mod error;
mod netconf;
mod result;
mod version;
mod wishes;

use std::{
    env,
    io::{self, IsTerminal as _, Read as _, Write as _},
    process::ExitCode,
};

pub use ask::{Ask, Role};
pub use call::{Call, Removal, Request, version_for_errors};
pub use environment::{Args, Attachment, Command, Variables};
pub use error::CniError;
pub use netconf::{LIMIT, NetConf};
pub use result::{CniResult, Interface, VmPair};
use serde_json::Value;
pub use version::SpecVersion;
pub use wishes::{Owner, Wishes};

/// Whether this process was started as a plugin: runtimes give no arguments and name the command in the environment.
pub fn is_called() -> bool {
    env::args_os().len() <= 1 && env::var_os("CNI_COMMAND").is_some()
}

/// Runs the plugin in this process.
pub fn main() -> ExitCode {
    let command = Command::read(&variable);
    let (stdin, read) = match &command {
        Ok(command) => configuration(*command),
        Err(_) => (Vec::new(), Ok(())),
    };
    let answer = command.and_then(|command| {
        read?;
        let request = Request::read(command, &variable, &stdin)?;
        // One thread: there is one thing to wait for, and a pool of threads would cost each pod of the node.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| CniError::Io { operation: "start the runtime", source })?;
        runtime.block_on(carry_out::carry_out(&request))
    });
    let (said, code) = match answer {
        Ok(said) => (said, ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("netagent: {error}");
            let version = version_for_errors(&stdin);
            let is_status =
                variable("CNI_COMMAND").is_some_and(|command| command == Command::Status.as_str());
            let json = if is_status { error.to_status_json(version) } else { error.to_json(version) };
            (Some(json), ExitCode::FAILURE)
        }
    };
    match said.map(|json| say(&json)).transpose() {
        Ok(_) => code,
        Err(error) => {
            eprintln!("netagent: write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name)
}

/// What is on standard input, and whether that could be read. One byte more than is read further: it tells what is too
/// long.
fn configuration(command: Command) -> (Vec<u8>, Result<(), CniError>) {
    let mut text = Vec::new();
    let stdin = io::stdin().lock();
    if command == Command::Version && stdin.is_terminal() {
        return (text, Ok(()));
    }
    let read = stdin.take(LIMIT.saturating_add(1)).read_to_end(&mut text);
    let read = read
        .map_err(|source| CniError::Io { operation: "read the configuration from standard input", source });
    (text, read.map(drop))
}

fn say(json: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{json:#}")?;
    stdout.flush()
}
