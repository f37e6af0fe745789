// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: one verb, one call, a table for people or JSON for programs.

mod args;
mod hand_off;
mod show;
mod table;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use args::{Cli, Command, ConfigCommand, Output, RunArgs};
use clap::Parser as _;

use crate::{
    api::{Client, ClientError, v1},
    app::{self, Options},
    cni,
    config::{Config, USUAL_SOCKET},
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
    let runtime = match cli.command {
        Command::Run(_) => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    };
    runtime.context("start the runtime")?.block_on(run(cli))
}

async fn run(cli: Cli) -> Result<()> {
    let output = cli.output;
    let socket = cli.socket.clone().unwrap_or_else(|| USUAL_SOCKET.into());
    match cli.command {
        Command::Run(args) => {
            log(&args)?;
            let config = config(&args, cli.socket.as_deref())?;
            app::run(Options { config, lacking: args.lacking(), attach: args.attach }).await
        }
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
        Command::Show(args) => {
            let mut client = Client::connect(&socket).await?;
            let port = client.get(args.reference()?).await?;
            show::port(&port, output)
        }
        Command::Cleanup(args) => {
            let mut config = Config::load(args.config.as_deref())?;
            config.socket = cli.socket.unwrap_or(config.socket);
            config.bpffs = args.bpffs.unwrap_or(config.bpffs);
            config.check()?;
            let gone = app::clean_up(&config).await?;
            let detached = gone.iter().map(ToString::to_string).collect();
            show::detached(&v1::DetachReply { detached }, output)
        }
        // Before the runtime: see `main`.
        Command::Cni => Ok(()),
        Command::Config { command } => match command {
            ConfigCommand::Default => show::config(&Config::default(), output),
            ConfigCommand::Check { file } => {
                let config = Config::load(file.as_deref())?;
                config.check()?;
                show::config(&config, output)
            }
        },
    }
}

fn config(args: &RunArgs, socket: Option<&Path>) -> Result<Config> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(socket) = socket {
        config.socket = socket.to_owned();
    }
    if let Some(bpffs) = &args.bpffs {
        config.bpffs.clone_from(bpffs);
    }
    config.metrics = args.metrics.or(config.metrics);
    config.lease_seconds = args.lease.seconds().unwrap_or(config.lease_seconds);
    config.check()?;
    Ok(config)
}

fn log(args: &RunArgs) -> Result<()> {
    use std::io::IsTerminal as _;
    use tracing_subscriber::{EnvFilter, fmt};

    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("log filter `{}`", args.log))?;
    let subscriber = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if args.log_json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
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
