// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: what netagent costs, beside its floor and its peers, in one run.

mod bpf;
mod compared;
mod cpu_time;
mod crowd;
mod footprint;
mod guest;
mod hands;
mod life;
mod load;
mod machine;
mod order;
mod packets;
mod report;
mod requests;
mod scene;
mod section;
mod series;
mod statistics;
mod storm;
mod streams;
mod variant;

use std::{
    cell::OnceCell,
    env, fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{
    agent::Agent,
    guest::Accel,
    image::Image,
    interrupt,
    require::{Need, missing},
};

use self::{
    bpf::attach::Attacher,
    crowd::Crowd,
    guest::Player,
    load::{Cpus, frame::Frame},
    machine::Machine,
    report::{Report, chart, compare, page, table},
    section::Section,
    variant::{Variant, Workshop},
};
use crate::{build, privilege, progress::Step, setup, signals};

/// Ports of one agent.
const PORTS: usize = 1000;
const QUICK_PORTS: usize = 20;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A smoke test: everything is built, proved and measured once or twice
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Write all figures of every round as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the figures between the marks of a Markdown page, such as docs/performance.md
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Draw charts, as SVG files in this folder
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,
    /// Instead: compare two runs that `--json` wrote, and tell changes from noise
    #[arg(long, num_args = 2, value_names = ["A", "B"], exclusive = true)]
    compare: Option<Vec<PathBuf>>,
    /// packets: how often everything is measured [default: 25, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// packets: small frames of one measurement [default: 40000, with --quick 3000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    frames: Option<u64>,
    /// packets: another build of the agent, measured beside this one in the same rounds
    #[arg(long, value_name = "NETAGENT")]
    against: Option<PathBuf>,
    /// packets: only these variants, and those without which there is no comparison
    #[arg(long, value_delimiter = ',', value_name = "VARIANT")]
    variants: Vec<Variant>,
    /// packets: only frames of these kinds
    #[arg(long, value_delimiter = ',', value_name = "FRAME")]
    frames_of: Vec<Frame>,
    /// streams, requests: with a guest in QEMU in the stand-in's place, in a few variants
    #[arg(long)]
    vm: bool,
    /// life, storm: ports of one agent [default: 1000, with --quick 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1024))]
    ports: Option<u32>,
    /// The agent, already built; for the second start, as root
    #[arg(long, hide = true, value_name = "NETAGENT")]
    prepared: Option<PathBuf>,
}

/// A part of a run, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What a packet costs on one CPU
    Packets,
    /// Throughput and CPU time of TCP and UDP
    Streams,
    /// Latency of round trips
    Requests,
    /// How ports come and go, and what the agent costs with them
    Life,
    /// All guests boot at once
    Storm,
}

impl Part {
    const ALL: [Self; 5] = [Self::Packets, Self::Streams, Self::Requests, Self::Life, Self::Storm];

    /// On the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Streams => "streams",
            Self::Requests => "requests",
            Self::Life => "life",
            Self::Storm => "storm",
        }
    }
}

impl Args {
    fn parts(&self) -> Vec<Part> {
        Part::ALL.into_iter().filter(|part| self.only.is_empty() || self.only.contains(part)).collect()
    }

    fn packets(&self) -> packets::Choice {
        packets::Choice {
            variants: self.variants.clone(),
            frames_of: self.frames_of.clone(),
            rounds: self.rounds,
            frames: self.frames,
            quick: self.quick,
        }
    }

    /// Ports of a crowd.
    fn ports(&self) -> usize {
        let default = if self.quick { QUICK_PORTS } else { PORTS };
        self.ports.map_or(default, |ports| ports as usize)
    }
}

/// `cargo xtask bench`. Ends with 1 when something could not be measured or a guest not be served; no figure makes it
/// fail.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some([a, b]) = args.compare.as_deref() {
        print!("{}", compare::text(&Report::read(a)?, &Report::read(b)?));
        return Ok(ExitCode::SUCCESS);
    }
    let agent = match &args.prepared {
        Some(agent) => agent.clone(),
        // As the user: nothing of the build belongs to root.
        None => {
            setup::ensure(&[setup::Need::Build, setup::Need::Bench])?;
            if args.vm {
                setup::ensure(&[setup::Need::Demo])?;
                Image::ensure(&|_| ())?;
            }
            // Of `life` and `storm` the agent's own code is a part.
            if args.quick { build::agent()? } else { build::optimised_agent()? }
        }
    };
    privilege::become_root("the bench makes namespaces and loads BPF programs", Some(&agent))?;
    let missing = missing(&[Need::Root, Need::Tun, Need::BpfFs]);
    if !missing.is_empty() {
        bail!("the bench cannot run here: {}", missing.join("; "));
    }
    signals::catch()?;
    let report = measure(args, &agent)?;
    print!("\n{}", table::text(&report));
    if let Some(path) = &args.json {
        fs::write(path, report.json()?).with_context(|| format!("cannot write {}", path.display()))?;
        give_to_user(path)?;
    }
    if let Some(path) = &args.page {
        page::write(path, &report)?;
        give_to_user(path)?;
    }
    if let Some(folder) = &args.charts {
        chart::write(folder, &report)?
            .iter()
            .map(PathBuf::as_path)
            .chain([folder.as_path()])
            .try_for_each(give_to_user)?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Under sudo the files are for whoever called it.
fn give_to_user(path: &Path) -> Result<()> {
    let id = |variable| env::var(variable).ok().and_then(|id| id.parse::<u32>().ok());
    if let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID")) {
        chown(path, Some(uid), Some(gid))
            .with_context(|| format!("cannot give {} to its user", path.display()))?;
    }
    Ok(())
}

/// Measures part by part. One that fails is told in the report, beside what the others found out.
fn measure(args: &Args, agent: &Path) -> Result<Report> {
    let cpus = Cpus::choose()?;
    // Before the bench itself puts load on the machine.
    let machine = Machine::look(cpus)?;
    let hook = Attacher::new()?.hook().to_string();
    // Made by `run`, as the user.
    let image = args.vm.then(|| Image::ensure(&|_| ())).transpose()?;
    let bench = Bench { args, agent, cpus, image, crowd: OnceCell::new() };
    let mut sections = Vec::new();
    for part in args.parts() {
        let section = bench.section(part);
        interrupt::check()?;
        sections.push(section.unwrap_or_else(|error| Section::failed(part.name(), &error)));
    }
    Ok(Report::new(machine, cpus, hook, args.quick, sections))
}

/// What the parts are measured with.
struct Bench<'a> {
    args: &'a Args,
    agent: &'a Path,
    cpus: Cpus,
    image: Option<Image>,
    /// For whoever comes first; those behind find it without ports again.
    crowd: OnceCell<Crowd>,
}

impl Bench<'_> {
    fn section(&self, part: Part) -> Result<Section> {
        let (cpus, quick) = (self.cpus, self.args.quick);
        match part {
            Part::Packets => packets::section(&self.workshop()?, cpus, &self.args.packets()),
            Part::Streams => streams::section(&self.workshop()?, cpus, self.player()?, quick),
            Part::Requests => requests::section(&self.workshop()?, cpus, self.player()?, quick),
            Part::Life => life::section(self.crowd()?, self.agent, cpus, quick),
            Part::Storm => storm::section(self.crowd()?, self.agent, quick),
        }
    }

    /// With an agent of its own.
    fn workshop(&self) -> Result<Workshop> {
        let other =
            self.args.against.as_ref().map(|other| Agent::builder().binary(other).start()).transpose()?;
        Ok(Workshop {
            attacher: Attacher::new()?,
            agent: Agent::builder().binary(self.agent).start()?,
            other,
        })
    }

    fn player(&self) -> Result<Player<'_>> {
        Ok(match &self.image {
            Some(image) => Player::Qemu(image, Accel::detect(image)?),
            None => Player::StandIn,
        })
    }

    fn crowd(&self) -> Result<&Crowd> {
        if self.crowd.get().is_none() {
            let _ = self.crowd.set(Crowd::build(self.args.ports())?);
        }
        self.crowd.get().context("no pods")
    }
}

/// One step with its line.
fn step<T>(name: &str, work: impl FnOnce(&Step) -> Result<(T, String)>) -> Result<T> {
    let step = Step::start(name);
    match work(&step) {
        Ok((done, detail)) => {
            step.end("ok", &detail);
            Ok(done)
        }
        Err(error) => {
            step.end("FAILED", "");
            Err(error)
        }
    }
}
