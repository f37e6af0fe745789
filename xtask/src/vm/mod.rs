// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask vm`: the same programs and the same tests on other kernels, old and new, and on this one.

mod boot;
mod kernels;
mod outcome;
mod payload;
mod report;
mod steps;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use netagent_tests::{guest::Accel, image::Uml, interrupt};

use crate::{
    setup::{self, Need},
    signals,
};
use kernels::{Target, Wanted};
use outcome::Outcome;
use payload::Binaries;
use report::Report;
use steps::Plan;

/// Arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Series such as 6.12, `newest`, or `running` for this machine's own kernel
    #[arg(long, value_delimiter = ',', default_values = ["5.10", "6.1", "6.12", "newest", "running"])]
    kernels: Vec<Wanted>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "FILTER")]
    tests: Option<String>,
    /// Only whether the programs load, with the verifier's words where one does not
    #[arg(long, conflicts_with = "tests")]
    load_only: bool,
    /// Goes on with the other kernels after one failed
    #[arg(long)]
    keep_going: bool,
    /// How many kernels at a time; each takes a CPU and 1 GiB
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Writes the table as Markdown into a file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// `cargo xtask vm`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    setup::ensure(&[Need::Build, Need::Bpf, Need::Netns, Need::Vm, Need::Matrix])?;
    signals::catch()?;
    let mut plan = Plan::new(args.load_only);
    let binaries = Binaries::build(&plan)?;
    plan.choose(&binaries.tests, args.tests.as_deref())?;
    let targets = kernels::resolve(&args.kernels, &plan)?;
    let lab = Lab { plan, accel: accel(&targets)?, payload: payload::pack(&binaries, &targets)?, binaries };
    eprintln!("prepared in {:.0} s", started.elapsed().as_secs_f64());

    let report = Report::new(lab.run_all(&targets, args), started.elapsed());
    print!("\n{report}");
    if let Some(file) = &args.markdown {
        fs::write(file, report.markdown()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    interrupt::check()?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// KVM or TCG, found by booting the guest's image. Not asked where nothing is booted.
fn accel(targets: &kernels::Targets) -> Result<Accel> {
    targets.image.as_ref().map_or(Ok(Accel::Tcg), Accel::detect)
}

/// What all kernels have in common.
struct Lab {
    plan: Plan,
    accel: Accel,
    payload: payload::Payload,
    binaries: Binaries,
}

impl Lab {
    /// Every kernel's outcome, in the order of the kernels.
    fn run_all(&self, targets: &kernels::Targets, args: &Args) -> Vec<Outcome> {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let jobs = args.jobs.unwrap_or(cpus.min(2)).max(1);
        let queue = Mutex::new(targets.all.iter().enumerate());
        let done = Mutex::new(Vec::new());
        let failed = AtomicBool::new(false);
        let work = || {
            loop {
                let stop = interrupt::requested() || failed.load(Ordering::Relaxed) && !args.keep_going;
                let Some((index, target)) = queue.lock().unwrap_or_else(PoisonError::into_inner).next()
                else {
                    return;
                };
                let outcome =
                    if stop { Outcome::not_run(target) } else { self.run_one(target, targets.uml.as_ref()) };
                if !outcome.is_good() {
                    failed.store(true, Ordering::Relaxed);
                }
                done.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn run_one(&self, target: &Target, uml: Option<&Uml>) -> Outcome {
        let started = Instant::now();
        let mut outcome = Outcome::new(target);
        let ran = match target {
            Target::Running { .. } => {
                boot::here(&self.binaries, uml).and_then(|mut shell| self.plan.run(&mut shell, &mut outcome))
            }
            Target::Package { image, .. } => self.payload.with_modules(image).and_then(|initrd| {
                let mut machine = boot::boot(image, initrd.path(), self.accel)?;
                outcome.boot = Some(machine.boot_time());
                let ran = self.plan.run(&mut machine, &mut outcome);
                if ran.is_err() || !outcome.is_good() {
                    outcome.tail = machine.tail();
                }
                ran
            }),
        };
        if let Err(error) = ran {
            outcome.failures.push(format!("{error:#}"));
        }
        outcome.time = started.elapsed();
        eprintln!("{}", outcome.line());
        outcome
    }
}
