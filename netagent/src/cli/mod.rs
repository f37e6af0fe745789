// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: one verb, one call, a table for people or JSON for programs.

mod args;
mod hand_off;
mod install;
mod show;
mod sources;
mod table;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use args::{Assignment, Cli, Command, ConfigCommand, Output, RunArgs};
use clap::Parser as _;

use crate::{
    api::{Client, ClientError, v1},
    app::{self, Options},
    cni,
    config::{Config, Layers, USUAL_SOCKET},
    sys::labelled_tap,
    telemetry::log,
};

/// Exit code: something failed.
const FAILED: u8 = 1;
/// Exit code: the agent is not reachable. 2 is clap's, for wrong usage.
const UNREACHABLE: u8 = 3;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Cni = cli.command {
        return cni::main();
    }
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netagent: {}", text(&error));
            let unreachable = error.downcast_ref().is_some_and(ClientError::is_unreachable);
            ExitCode::from(if unreachable { UNREACHABLE } else { FAILED })
        }
    }
}

/// The error in one line. How a connection failed or what a status carries says nothing that the text does not.
fn text(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ClientError>() {
        Some(client) => client.to_string(),
        None => format!("{error:#}"),
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Run(args) => {
            let layers = layers(&args, cli.socket.as_deref());
            let config = layers.load()?;
            let log = log::start(config.agent.log.filter(), config.agent.log_json);
            for (variable, nearest) in layers.doubtful_variables() {
                tracing::warn!(variable, nearest, "environment variable sets nothing");
            }
            // What is given up is given up by the threads that are started from here on.
            app::shed_privileges(&config)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            let reload = app::Reload { layers, log };
            let options = Options { config, lacking: args.lacking(), reload, attach: args.attach };
            runtime.context("start the runtime")?.block_on(app::run(options))
        }
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.context("start the runtime")?.block_on(run(cli))
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let output = cli.output;
    let socket = cli.socket.clone().unwrap_or_else(|| USUAL_SOCKET.into());
    match cli.command {
        Command::Run(_) => unreachable!("the agent has a runtime of its own"),
        Command::Attach(args) => {
            let mut client = Client::connect(&socket).await?;
            let port = client.attach(args.request()?).await?;
            show::port(&port, output)
        }
        Command::Plan(args) => {
            let mut client = Client::connect(&socket).await?;
            let plan = client.plan(args.request()?).await?;
            show::plan(&plan, output)
        }
        Command::Detach(args) => {
            let mut client = Client::connect(&socket).await?;
            let reply = client.detach(args.reference()?).await?;
            show::detached(&reply, output)
        }
        Command::Status => {
            let mut client = Client::connect(&socket).await?;
            let reply = client.list().await?;
            show::ports(&reply.ports, output)
        }
        Command::Sources => {
            let mut client = Client::connect(&socket).await?;
            let reply = client.sources().await?;
            sources::show(&reply.sources, output)
        }
        Command::Show(args) => {
            let mut client = Client::connect(&socket).await?;
            let port = client.get(args.reference()?).await?;
            show::port(&port, output)
        }
        Command::Cleanup(args) => {
            let mut layers = Layers::new(args.config.as_deref()).environment(environment());
            lay(&mut layers, "--socket", "socket", cli.socket.as_deref().map(Path::display));
            lay(&mut layers, "--bpffs", "bpffs", args.bpffs.as_deref().map(Path::display));
            let config = layers.load()?;
            let gone = app::clean_up(&config).await?;
            let detached = gone.iter().map(ToString::to_string).collect();
            show::detached(&v1::DetachReply { detached }, output)
        }
        Command::InstallCni(args) => {
            let installed = install::install(Path::new("/proc/self/exe"), &args.to)?;
            show::installed(&installed, output)
        }
        Command::MakeTap { name, flags } => {
            labelled_tap::make_on_stdin(&name, flags).with_context(|| format!("make tap {name}"))
        }
        // Before the runtime: see `main`.
        Command::Cni => Ok(()),
        Command::Config { command } => match command {
            ConfigCommand::Default => show::config(&Config::default(), output),
            ConfigCommand::Check { file, set } => {
                let mut layers = Layers::new(file.as_deref()).environment(environment());
                lay(&mut layers, "--socket", "socket", cli.socket.as_deref().map(Path::display));
                for Assignment { key, value } in &set {
                    layers.flag(format!("--set {key}"), key, value);
                }
                show::config(&layers.load()?, output)
            }
        },
    }
}

/// All that is said to an agent about its configuration.
fn layers(args: &RunArgs, socket: Option<&Path>) -> Layers {
    let mut layers = Layers::new(args.config.as_deref()).environment(environment());
    lay(&mut layers, "--socket", "socket", socket.map(Path::display));
    lay(&mut layers, "--bpffs", "bpffs", args.bpffs.as_deref().map(Path::display));
    lay(&mut layers, "--metrics", "metrics", args.metrics);
    lay(&mut layers, "--lease-seconds", "lease_seconds", args.lease.seconds());
    lay(&mut layers, "--resync-seconds", "resync_seconds", args.resync_seconds);
    lay(&mut layers, "--log", "log", args.log.as_deref());
    lay(&mut layers, "--log-json", "log_json", args.log_json.then_some(true));
    for Assignment { key, value } in &args.set {
        layers.flag(format!("--set {key}"), key, value);
    }
    layers
}

fn lay(layers: &mut Layers, flag: &str, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        layers.flag(flag, key, value);
    }
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl Output {
    /// Prints the value as JSON, or what people read.
    fn print(self, value: &impl serde::Serialize, human: impl FnOnce() -> String) -> Result<()> {
        use std::io::Write as _;
        let text = match self {
            Self::Json => serde_json::to_string_pretty(value)?,
            Self::Table => human(),
        };
        match writeln!(std::io::stdout(), "{}", text.trim_end()) {
            // The reader has seen enough, as `head` does.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.context("write to standard output"),
        }
    }
}
