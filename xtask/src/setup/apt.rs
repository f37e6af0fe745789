// SPDX-License-Identifier: MIT OR Apache-2.0
//! Installs Debian packages: what would happen is asked first, then done, with progress.

use std::{ffi::OsStr, fs, process::Command};

use anyhow::{Result, bail};

use super::requirements::Finding;
use crate::{
    privilege::{Privilege, find_program},
    progress::Step,
};

const LISTS: &str = "/var/lib/apt/lists";

/// apt's answer to "what if".
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forecast {
    pub(super) packages: Vec<String>,
    pub(super) installs: usize,
    pub(super) upgrades: usize,
    pub(super) removes: Vec<String>,
}

pub(super) fn is_here() -> bool {
    find_program("apt-get").is_some()
}

/// Whether apt knows what the archive has: containers come without.
pub(super) fn lists() -> Finding {
    match (is_here(), has_lists()) {
        (true, true) => Finding::Ready(LISTS.to_owned()),
        (true, false) => Finding::Missing(format!("no lists in {LISTS}")),
        (false, _) => Finding::Missing("there is no apt-get on this system".to_owned()),
    }
}

/// The command for people.
pub(super) fn command_line(privilege: Option<Privilege>, packages: &[String]) -> String {
    let sudo = privilege.map_or("", Privilege::prefix);
    format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" "))
}

/// What apt would do; reads the archive's lists first where they are missing or know nothing of a package.
pub(super) fn forecast(privilege: Privilege, packages: &[String]) -> Result<Forecast> {
    if !has_lists() {
        update(privilege)?;
    }
    let plan = match simulate(packages) {
        Err(error) if is_unknown_package(&error) => {
            update(privilege)?;
            simulate(packages)
        }
        other => other,
    };
    let plan = plan.map_err(|said| anyhow::anyhow!("apt-get cannot install the packages:\n{said}"))?;
    if plan.removes.is_empty() {
        return Ok(plan);
    }
    // apt rather removes an outdated neighbour than upgrade it, unless it is asked for by name.
    let with_neighbours = [packages, &plan.removes].concat();
    match simulate(&with_neighbours) {
        Ok(better) if better.removes.is_empty() => Ok(better),
        _ => Ok(plan),
    }
}

/// Carries the forecast out.
pub(super) fn install(privilege: Privilege, forecast: &Forecast) -> Result<()> {
    let outcome = run(privilege, "install", &forecast.packages, forecast.removes.is_empty())?;
    match outcome {
        Ok(()) => Ok(()),
        // The lists name files that the mirror has replaced since.
        Err(said) if said.contains("404") || is_unknown_package(&said) => {
            update(privilege)?;
            match run(privilege, "install", &forecast.packages, forecast.removes.is_empty())? {
                Ok(()) => Ok(()),
                Err(said) => bail!("apt-get install failed:\n{said}"),
            }
        }
        Err(said) => bail!("apt-get install failed:\n{said}"),
    }
}

/// Reads the archive's lists.
pub(super) fn update(privilege: Privilege) -> Result<()> {
    match run(privilege, "update", &[], true)? {
        Ok(()) => Ok(()),
        Err(said) => bail!("apt-get update failed:\n{said}"),
    }
}

/// The inner result holds what apt said when it failed.
fn run(privilege: Privilege, verb: &str, packages: &[String], keep_all: bool) -> Result<Result<(), String>> {
    let step = Step::start(format!("apt {verb}"));
    let environment = [("DEBIAN_FRONTEND", OsStr::new("noninteractive")), ("LC_ALL", OsStr::new("C"))];
    let mut apt = privilege.command("apt-get", environment);
    // apt writes machine-readable progress to the descriptor named here: stdout.
    apt.args([
        "-q",
        "-y",
        "-o",
        "APT::Status-Fd=1",
        "-o",
        "DPkg::Lock::Timeout=120",
        "-o",
        "Acquire::Retries=3",
    ]);
    if verb == "install" {
        apt.arg("--no-install-recommends");
        if keep_all {
            apt.arg("--no-remove");
        }
    }
    apt.arg(verb).args(packages);
    let mut told = 0.0;
    let outcome = step.run(&mut apt, |step, line| {
        let Some(at) = Status::parse(line) else { return };
        step.note(format!("{:>3.0} %  {}", at.percent, at.text));
        if at.percent >= told + 25.0 {
            told = at.percent;
            step.plain(&format!("  apt {verb}: {told:.0} %"));
        }
    })?;
    if outcome.status.success() {
        step.end("ok", "");
        return Ok(Ok(()));
    }
    step.end("failed", "");
    let said: Vec<_> = outcome.output.lines().filter(|line| Status::parse(line).is_none()).collect();
    Ok(Err(said.join("\n")))
}

fn has_lists() -> bool {
    fs::read_dir(LISTS).is_ok_and(|lists| {
        lists.flatten().any(|list| list.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn simulate(packages: &[String]) -> Result<Forecast, String> {
    let out = Command::new("apt-get")
        .env("LC_ALL", "C")
        .args(["-q", "-s", "-y", "--no-install-recommends", "install"])
        .args(packages)
        .output()
        .map_err(|error| format!("cannot run apt-get: {error}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        // Which package wants what is on stdout, the verdict on stderr.
        let conflicts = text.find("The following packages have unmet").and_then(|start| text.get(start..));
        let verdict = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{}{}", conflicts.unwrap_or_default(), verdict.trim()));
    }
    Ok(Forecast { packages: packages.to_vec(), ..parse_simulation(&text) })
}

/// `Inst name [old] (new ...)`, `Inst name (new ...)`, `Remv name [old]`.
fn parse_simulation(text: &str) -> Forecast {
    let mut forecast = Forecast::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("Inst"), Some(_), Some(old)) if old.starts_with('[') => forecast.upgrades += 1,
            (Some("Inst"), Some(_), _) => forecast.installs += 1,
            (Some("Remv"), Some(name), _) => forecast.removes.push(name.to_owned()),
            _ => {}
        }
    }
    forecast
}

fn is_unknown_package(said: &str) -> bool {
    said.contains("Unable to locate package") || said.contains("has no installation candidate")
}

/// `dlstatus:1:20.5:Retrieving file 1 of 58` or `pmstatus:iperf3:40.1:Unpacking iperf3`. Downloads are the
/// first half.
struct Status<'a> {
    percent: f64,
    text: &'a str,
}

impl<'a> Status<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(4, ':');
        let offset = match fields.next()? {
            "dlstatus" => 0.0,
            "pmstatus" => 50.0,
            _ => return None,
        };
        let (_, percent, text) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { percent: offset + percent.parse::<f64>().ok()? / 2.0, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_counted() {
        let text = "NOTE: This is only a simulation!\n\
            Remv qemu-utils [1:7.2+dfsg-7+deb12u13]\n\
            Inst xz-utils [5.4.1-1] (5.4.1-1+deb12u2 Debian-Security:12/oldstable-security [amd64])\n\
            Inst iperf3 (3.12-1+deb12u2 Debian:12.13/oldstable [amd64])\n\
            Conf iperf3 (3.12-1+deb12u2 Debian:12.13/oldstable [amd64])\n";
        let removes = vec!["qemu-utils".to_owned()];
        assert_eq!(
            parse_simulation(text),
            Forecast { installs: 1, upgrades: 1, removes, ..Forecast::default() }
        );
    }

    #[test]
    fn progress_lines_are_told_from_what_apt_says() {
        assert!(
            Status::parse("pmstatus:iperf3:40.0:Unpacking iperf3 (amd64)")
                .is_some_and(|at| at.percent == 70.0)
        );
        assert!(Status::parse("dlstatus:1:20.0:Retrieving file 1 of 2").is_some_and(|at| at.percent == 10.0));
        assert!(Status::parse("E: Unable to locate package foo").is_none());
    }
}
