// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: what a packet costs on one CPU, netagent beside its floor and its peers, in one run.

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
mod measure;
mod order;
mod price;
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
    measure::{Case, Extent, Scenes},
    report::{Absent, Circumstances, Report, page, table},
    variant::{Direction, Variant, Workshop},
};
use crate::{build, privilege, progress::Step, setup, signals};

const FULL: Extent = Extent { rounds: 25, frames: 50_000 };
const QUICK: Extent = Extent { rounds: 3, frames: 3_000 };
/// Ports of one agent.
const PORTS: usize = 1000;
const QUICK_PORTS: usize = 20;
/// Of the rounds with the kernel's statistics on.
const PRICE_ROUNDS: u32 = 5;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A smoke test: everything is built, proved and measured once or twice, in less than a minute
    #[arg(long)]
    quick: bool,
    /// How often everything is measured [default: 25, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// Small frames of one measurement [default: 50000, with --quick 3000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    frames: Option<u64>,
    /// Write all figures and every sample as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the figures between the marks of a Markdown page, such as docs/performance.md
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Another build of the agent, measured beside this one in the same rounds
    #[arg(long, value_name = "NETAGENT")]
    against: Option<PathBuf>,
    /// Only these variants, and those without which there is no comparison
    #[arg(long, value_delimiter = ',', value_name = "VARIANT")]
    variants: Vec<Variant>,
    /// Only frames of these kinds
    #[arg(long, value_delimiter = ',', value_name = "FRAME")]
    frames_of: Vec<Frame>,
    /// Ports of one agent in `life` and `storm` [default: 1000, with --quick 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1024))]
    ports: Option<u32>,
    /// Streams and requests with a guest in QEMU in the stand-in's place, in a few variants
    #[arg(long)]
    vm: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// The agent, already built; for the second start, as root
    #[arg(long, hide = true, value_name = "NETAGENT")]
    prepared: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Streams,
    Requests,
    Life,
    Storm,
}

impl Part {
    /// Whether the agent's own code is measured: of a packet's path it is no part.
    fn is_of_the_agent(self) -> bool {
        match self {
            Self::Streams | Self::Requests => false,
            Self::Life | Self::Storm => true,
        }
    }
}

impl Args {
    fn wants(&self, variant: Variant) -> bool {
        if variant.directions().is_empty() {
            return false;
        }
        if variant == Variant::NetagentOther {
            return self.against.is_some();
        }
        self.variants.is_empty() || self.variants.contains(&variant) || is_essential(variant)
    }

    /// Ports of a crowd.
    fn ports(&self) -> usize {
        let default = if self.quick { QUICK_PORTS } else { PORTS };
        self.ports.map_or(default, |ports| ports as usize)
    }

    fn frames_of(&self) -> Vec<Frame> {
        if self.frames_of.is_empty() { Frame::ALL.to_vec() } else { self.frames_of.clone() }
    }
}

/// `cargo xtask bench`. Fails when a variant could not be measured or a guest not be served; no figure makes it
/// fail.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let agent = match &args.prepared {
        Some(agent) => agent.clone(),
        // As the user: nothing of the build belongs to root.
        None => {
            setup::ensure(&[setup::Need::Build, setup::Need::Bench])?;
            if args.vm {
                setup::ensure(&[setup::Need::Demo])?;
                Image::ensure(&|_| ())?;
            }
            let optimised = args.only.iter().any(|part| part.is_of_the_agent()) && !args.quick;
            if optimised { build::optimised_agent()? } else { build::agent()? }
        }
    };
    privilege::become_root("the bench makes namespaces and loads BPF programs", Some(&agent))?;
    let missing = missing(&[Need::Root, Need::Tun, Need::BpfFs]);
    if !missing.is_empty() {
        bail!("the bench cannot run here: {}", missing.join("; "));
    }
    signals::catch()?;
    if !args.only.is_empty() {
        return only(args, &agent);
    }
    let report = measure(args, &agent)?;
    print!("{}", table::text(&report));
    write_json(args, || report.json())?;
    if let Some(path) = &args.page {
        page::write(path, &report)?;
        give_to_user(path)?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Some parts, each with its own tables.
fn only(args: &Args, agent: &Path) -> Result<ExitCode> {
    let cpus = Cpus::choose()?;
    let machine = Machine::look(cpus)?;
    let workshop = || -> Result<Workshop> {
        Ok(Workshop {
            attacher: Attacher::new()?,
            agent: Agent::builder().binary(agent).start()?,
            other: None,
        })
    };
    // For whoever comes first; those behind find it without ports again.
    let crowd = OnceCell::new();
    let pods = || -> Result<&Crowd> {
        if crowd.get().is_none() {
            let _ = crowd.set(Crowd::build(args.ports())?);
        }
        crowd.get().context("no pods")
    };
    // Made by `run`, as the user.
    let image = args.vm.then(|| Image::ensure(&|_| ())).transpose()?;
    let player = match &image {
        Some(image) => Player::Qemu(image, Accel::detect(image)?),
        None => Player::StandIn,
    };
    println!("{}", machine.line());
    let mut sections = Vec::new();
    for part in &args.only {
        let section = match part {
            Part::Streams => streams::section(&workshop()?, cpus, player, args.quick)?,
            Part::Requests => requests::section(&workshop()?, cpus, player, args.quick)?,
            Part::Life => life::section(pods()?, agent, cpus, args.quick)?,
            Part::Storm => storm::section(pods()?, agent, args.quick)?,
        };
        print!("\n{}", table::of_section(&section));
        sections.push(section);
    }
    let complete = sections.iter().all(|section| section.absent.is_empty());
    write_json(args, || {
        let all = serde_json::json!({ "machine": machine, "sections": sections });
        Ok(format!("{all:#}\n"))
    })?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_json(args: &Args, json: impl FnOnce() -> Result<String>) -> Result<()> {
    let Some(path) = &args.json else { return Ok(()) };
    fs::write(path, json()?).with_context(|| format!("cannot write {}", path.display()))?;
    give_to_user(path)
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

fn measure(args: &Args, agent: &Path) -> Result<Report> {
    let default = if args.quick { QUICK } else { FULL };
    let extent = Extent {
        rounds: args.rounds.unwrap_or(default.rounds),
        frames: args.frames.unwrap_or(default.frames),
    };
    let cpus = Cpus::choose()?;
    // Before the bench itself puts load on the machine.
    let machine = Machine::look(cpus)?;
    let workshop = step("agent", |_| {
        let agent = Agent::builder().binary(agent).start()?;
        let attacher = Attacher::new()?;
        let other = args.against.as_ref().map(|other| Agent::builder().binary(other).start()).transpose()?;
        let detail =
            format!("pid {}; programs attach by {}", agent.pid().unwrap_or_default(), attacher.hook());
        Ok((Workshop { attacher, agent, other }, detail))
    })?;

    let (scenes, mut absent) = build_all(&workshop, |variant| args.wants(variant))?;
    let cases = prove_all(&scenes, &args.frames_of(), cpus, &mut absent)?;
    let measured = step("measure", |step| {
        let told = |round| step.note(format!("round {} of {}", round + 1, extent.rounds));
        let measured = measure::rounds(&scenes, &cases, cpus, extent, told)?;
        Ok((measured, format!("{} cases, {} rounds of {} frames", cases.len(), extent.rounds, extent.frames)))
    })?;
    let prices = step("programs", |step| {
        let extent = Extent { rounds: extent.rounds.min(PRICE_ROUNDS), ..extent };
        let told = |round| step.note(format!("round {} of {}", round + 1, extent.rounds));
        let prices = price::all(&scenes, &cases, cpus, extent, told)?;
        let detail = format!("{} run times, with BPF statistics on", prices.len());
        Ok((prices, detail))
    })?;
    let about = Circumstances { machine, cpus, hook: workshop.attacher.hook(), extent, quick: args.quick };
    Ok(Report::new(about, measured, prices, absent))
}

/// All scenes stand at the same time: what one of them switches on in the kernel for all (static keys of the tc
/// hooks, for example), it switches on for each of them.
fn build_all(workshop: &Workshop, wanted: impl Fn(Variant) -> bool) -> Result<(Box<Scenes>, Vec<Absent>)> {
    step("build", |step| {
        let (mut scenes, mut absent) = (Vec::new(), Vec::new());
        for variant in Variant::ALL.into_iter().filter(|variant| wanted(*variant)) {
            interrupt::check()?;
            step.note(format!("{variant:?}"));
            match variant.build(workshop) {
                Ok(scene) => scenes.push((variant, scene)),
                Err(error) if is_essential(variant) => {
                    return Err(error
                        .context(format!("cannot build {variant:?}, without which there is no comparison")));
                }
                Err(error) => absent.push(Absent { variant, direction: None, reason: format!("{error:#}") }),
            }
        }
        let detail = format!("{} variants, each in a pod of its own", scenes.len());
        Ok(((scenes.into_boxed_slice(), absent), detail))
    })
}

/// Every case that brings its frames through.
fn prove_all(scenes: &Scenes, frames: &[Frame], cpus: Cpus, absent: &mut Vec<Absent>) -> Result<Vec<Case>> {
    step("prove", |step| {
        let mut cases = Vec::new();
        for (variant, scene) in scenes {
            // The guest speaks first: only then does a bridge know where it is.
            for direction in Direction::ALL {
                if !variant.directions().contains(&direction) {
                    continue;
                }
                for frame in frames {
                    let case = Case { variant: *variant, direction, frame: *frame };
                    step.note(format!("{}, {}", variant.title(direction), direction.title()));
                    match measure::prove(scene, case, cpus) {
                        Ok(()) => cases.push(case),
                        Err(error) if interrupt::requested() => return Err(error),
                        Err(error) => absent.push(Absent {
                            variant: *variant,
                            direction: Some(direction),
                            reason: format!("{}: {error:#}", frame.title()),
                        }),
                    }
                }
            }
        }
        let detail = format!("{} cases bring every frame through, {} do not", cases.len(), absent.len());
        Ok((cases, detail))
    })
}

/// The others can be missing of a kernel.
fn is_essential(variant: Variant) -> bool {
    matches!(variant, Variant::Floor | Variant::Redirect)
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
