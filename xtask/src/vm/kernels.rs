// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which kernels are meant, and what is fetched to boot them.

use std::str::FromStr;

use anyhow::{Context as _, Result};
use netagent_tests::image::{Image, KernelImage, Kernels, Series, Uml};
use nix::sys::utsname::uname;

use super::steps::Plan;
use crate::progress::Step;

/// A kernel as it is asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Running,
    Package(Series),
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "running" {
            return Ok(Self::Running);
        }
        text.parse().map(Self::Package).context("or `running`")
    }
}

/// A kernel that is here.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Running { version: String },
    Package { series: Series, image: KernelImage },
}

/// Kernels, and what a real guest in them is made of.
pub(super) struct Targets {
    pub(super) all: Vec<Target>,
    /// The programs of guests. None where no kernel is booted and no guest needed.
    pub(super) image: Option<Image>,
    pub(super) uml: Option<Uml>,
}

impl Target {
    /// As `uname -r` shows it.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Running { version } => version,
            Self::Package { image, .. } => image.version(),
        }
    }

    pub(super) fn wanted(&self) -> String {
        match self {
            Self::Running { .. } => "running".to_owned(),
            Self::Package { series, .. } => series.to_string(),
        }
    }
}

/// Fetches what is missing.
pub(super) fn resolve(wanted: &[Wanted], plan: &Plan) -> Result<Targets> {
    let step = Step::start("kernels");
    let note = |text: &str| {
        step.note(text);
        step.plain(&format!("  {text}"));
    };
    let booted = wanted.iter().any(|one| matches!(one, Wanted::Package(_)));
    let guest = plan.has_guest();
    let image = if booted || guest { Some(Image::ensure(&note)?) } else { None };
    let kernels = if booted || guest { Some(Kernels::open(&note)?) } else { None };
    let mut all = Vec::new();
    for one in wanted {
        all.push(match (one, &kernels) {
            (Wanted::Package(series), Some(kernels)) => {
                Target::Package { series: series.clone(), image: kernels.get(series, &note)? }
            }
            _ => Target::Running { version: running()? },
        });
    }
    let uml = match (&kernels, &image) {
        (Some(kernels), Some(image)) if guest => Some(Uml::ensure(kernels, image, &note)?),
        _ => None,
    };
    let versions: Vec<_> = all.iter().map(Target::version).collect();
    step.end("ok", &versions.join(", "));
    Ok(Targets { all, image, uml })
}

fn running() -> Result<String> {
    let name = uname().context("cannot ask for this kernel's version")?;
    Ok(name.release().to_string_lossy().into_owned())
}
