// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask`: everything a developer or CI does with this repository, one command each.

mod bench;
mod build;
mod ci;
mod demo;
mod deny;
mod image;
mod lint;
mod privilege;
mod progress;
mod run;
mod setup;
mod signals;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, tests and shows netagent
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings this machine to a state where everything builds and all tests run
    Setup(setup::Args),
    /// Boots a real VM on a pod's network and shows its lease, its traffic and a kill of the agent
    Demo(demo::Args),
    /// Builds all and starts the agent by hand: `cargo xtask run -- --attach NETNS`
    Run(run::Args),
    /// Builds all and runs the tests, tier by tier
    Test(test::Args),
    /// Measures what a packet costs: netagent beside bare redirects, tc mirred and a Linux bridge
    Bench(bench::Args),
    /// Boots other kernels and runs the programs and tests there: 5.10, 6.1, 6.12, the newest, and this one
    Vm(vm::Args),
    /// Packs the agent as an OCI image, and loads it into containerd
    Image(image::Args),
    /// What CI runs: fmt, clippy, doc, deny, lint, test
    Ci(ci::Args),
    /// Checks layering, file sizes, names and licence headers
    Lint,
    /// Checks licences, sources and banned crates against deny.toml, offline
    Deny,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(args).map(|()| ExitCode::SUCCESS),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Lint => lint::run(),
        Command::Deny => deny::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
