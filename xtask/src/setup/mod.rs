// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask setup`: compares the machine with the table in [`requirements`] and installs what is missing.

mod apt;
mod ebpf;
mod requirements;
mod rust_component;

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdin},
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, Result, bail};

use crate::privilege::Privilege;
pub(crate) use requirements::Need;
use requirements::{Finding, REQUIREMENTS, Remedy, Requirement};

/// Flags of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only report; exit with 1 when something is missing
    #[arg(long)]
    check: bool,
    /// Do not ask, also not where packages must be removed
    #[arg(long, short)]
    yes: bool,
}

/// A row of the table that this machine does not satisfy.
pub(crate) struct Missing {
    pub(crate) requirement: &'static Requirement,
    pub(crate) reason: String,
}

/// `cargo xtask setup`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut missing = Vec::new();
    for (requirement, finding) in look(&Need::ALL) {
        let (mark, text) = match finding {
            Finding::Ready(detail) => ("ok", detail),
            Finding::Missing(reason) => {
                let text = format!("{} ({})", reason, requirement.why);
                missing.push(Missing { requirement, reason });
                ("MISSING", text)
            }
        };
        println!("{mark:<8} {:<15} {text}", requirement.name);
    }
    if missing.is_empty() {
        println!("Everything is here: `cargo xtask demo` and `cargo xtask test` will run.");
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        println!("{} of {} missing; `cargo xtask setup` installs:", missing.len(), REQUIREMENTS.len());
        println!("{}", commands(&missing));
        return Ok(ExitCode::FAILURE);
    }
    install(&missing, args.yes)?;
    println!("Everything is here: `cargo xtask demo` and `cargo xtask test` will run.");
    Ok(ExitCode::SUCCESS)
}

/// Installs what `needs` lack; says and does nothing when they lack nothing.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    for one in &missing {
        eprintln!("missing  {:<15} {} ({})", one.requirement.name, one.reason, one.requirement.why);
    }
    install(&missing, false)
}

/// What `needs` lack.
pub(crate) fn missing(needs: &[Need]) -> Vec<Missing> {
    let missing = |(requirement, finding)| match finding {
        Finding::Ready(_) => None,
        Finding::Missing(reason) => Some(Missing { requirement, reason }),
    };
    look(needs).into_iter().filter_map(missing).collect()
}

/// Every check at once: those that start rustc take most of the time.
fn look(needs: &[Need]) -> Vec<(&'static Requirement, Finding)> {
    thread::scope(|scope| {
        let rows = REQUIREMENTS.iter().filter(|row| row.is_for(needs));
        let checks: Vec<_> = rows.map(|row| (row, scope.spawn(|| row.find()))).collect();
        let died = |_| Finding::Missing("its check panicked".to_owned());
        checks.into_iter().map(|(row, check)| (row, check.join().unwrap_or_else(died))).collect()
    })
}

fn install(missing: &[Missing], yes: bool) -> Result<()> {
    eprintln!("\nWill be installed:\n{}\n", commands(missing));
    if !yes && stdin().is_terminal() && stderr().is_terminal() && !agreed("Go on?")? {
        bail!("nothing was installed; the commands are above");
    }
    let done = install_all(missing, yes);
    // Whatever the commands said: what counts is what is there now.
    let mut left = self::missing(&Need::ALL);
    left.retain(|now| missing.iter().any(|before| before.requirement.name == now.requirement.name));
    if left.is_empty() {
        return done;
    }
    let list: Vec<_> = left
        .iter()
        .map(|one| format!("  {:<15} {} ({})", one.requirement.name, one.reason, one.requirement.why))
        .collect();
    let text = format!(
        "still missing:\n{}\nWhat brings it, on Debian 12 (other systems name the packages differently):\n{}",
        list.join("\n"),
        commands(&left)
    );
    match done {
        Ok(()) => bail!(text),
        Err(error) => bail!("{error:#}\n{text}"),
    }
}

fn install_all(missing: &[Missing], yes: bool) -> Result<()> {
    let mut packages = Vec::new();
    let mut distro_toolchain = false;
    let mut lists = false;
    for one in missing {
        match one.requirement.remedy {
            Remedy::Packages(names) => packages.extend(names.iter().map(|&name| name.to_owned())),
            Remedy::Toolchain => distro_toolchain = !add_core_sources(),
            Remedy::Component(component, _) if rust_component::has_rustup() => {
                rust_component::add(component)?
            }
            Remedy::Component(_, package) => packages.push(package.to_owned()),
            Remedy::PackageLists => lists = true,
            Remedy::Linker => {}
        }
    }
    if distro_toolchain {
        packages.extend(ebpf::DISTRO_PACKAGES.map(str::to_owned));
    }
    let linker = missing.iter().any(|one| one.requirement.remedy == Remedy::Linker);
    if linker {
        packages.extend(ebpf::linker_packages(ebpf::llvm_major()));
    }
    packages.dedup();
    if !packages.is_empty() || lists {
        install_packages(&packages, yes)?;
    }
    if distro_toolchain {
        ebpf::link_distro_toolchain()?;
    }
    // Asked again: a linker that was fine without a toolchain may not fit the one that came.
    if linker || matches!(ebpf::linker(), Finding::Missing(_)) && distro_toolchain {
        ebpf::install_linker()?;
    }
    Ok(())
}

/// The smallest remedy: core's sources for the compiler that is in use. False where rustup cannot give them.
fn add_core_sources() -> bool {
    if !rust_component::has_rustup() {
        return false;
    }
    match rust_component::add("rust-src").map(|()| ebpf::toolchain()) {
        Ok(Finding::Ready(_)) => true,
        Ok(Finding::Missing(reason)) => {
            eprintln!("rustup added rust-src, but: {reason}; taking Debian's toolchain instead");
            false
        }
        Err(error) => {
            eprintln!("{error:#}; taking Debian's toolchain instead");
            false
        }
    }
}

fn install_packages(packages: &[String], yes: bool) -> Result<()> {
    if !apt::is_here() {
        bail!("there is no apt-get on this system");
    }
    let privilege =
        Privilege::get().map_err(|reason| anyhow::anyhow!("cannot install packages: {reason}"))?;
    privilege.warm_up().map_err(|reason| anyhow::anyhow!("cannot install packages: {reason}"))?;
    if packages.is_empty() {
        return apt::update(privilege);
    }
    let forecast = apt::forecast(privilege, packages)?;
    eprintln!(
        "apt: {} new packages, {} upgraded, {} removed",
        forecast.installs,
        forecast.upgrades,
        forecast.removes.len()
    );
    if !forecast.removes.is_empty() {
        let removed = forecast.removes.join(" ");
        eprintln!("apt removes, in conflict with the new ones: {removed}");
        // Without a terminal there is nobody to ask; apt itself refuses to remove what the system needs.
        if !yes && stdin().is_terminal() && !agreed("Remove them?")? {
            bail!("nothing was installed: apt would remove {removed}");
        }
    }
    apt::install(privilege, &forecast)
}

/// The commands that bring what is missing, one a line, to be read or pasted.
fn commands(missing: &[Missing]) -> String {
    let privilege = Privilege::get().ok();
    let rustup = rust_component::has_rustup();
    let mut packages = Vec::new();
    let mut after = Vec::new();
    let mut before = Vec::new();
    for one in missing {
        match one.requirement.remedy {
            Remedy::Packages(names) => packages.extend(names.iter().map(|&name| name.to_owned())),
            Remedy::Component(component, _) if rustup => {
                before.push(format!("rustup component add {component}"))
            }
            Remedy::Component(_, package) => packages.push(package.to_owned()),
            Remedy::Toolchain if rustup => {
                let distro = ebpf::DISTRO_PACKAGES.map(str::to_owned);
                before.push("rustup component add rust-src".to_owned());
                before.push(format!(
                    "  or, where rustup's servers are out of reach: {} && rustup toolchain link distro /usr",
                    apt::command_line(privilege, &distro)
                ));
            }
            Remedy::Toolchain => packages.extend(ebpf::DISTRO_PACKAGES.map(str::to_owned)),
            Remedy::PackageLists => {
                before.push(format!("{}apt-get update", privilege.map_or("", Privilege::prefix)))
            }
            Remedy::Linker => {
                packages.extend(ebpf::linker_packages(ebpf::llvm_major()));
                after.push(ebpf::linker_command(ebpf::llvm_major()));
            }
        }
    }
    packages.dedup();
    let apt = (!packages.is_empty()).then(|| apt::command_line(privilege, &packages));
    let lines: Vec<_> = before.into_iter().chain(apt).chain(after).map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

fn agreed(question: &str) -> Result<bool> {
    eprint!("{question} [Y/n] ");
    stderr().flush().context("cannot write to the terminal")?;
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}
