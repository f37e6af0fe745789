// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole run: where it was made, and what its parts found out. Everything that is shown comes from here.

pub(super) mod chart;
pub(super) mod compare;
pub(super) mod page;
mod permutation;
pub(super) mod table;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{load::Cpus, machine::Machine, section::Section, series::Series, statistics::Spread};

/// Layout of the JSON. Changes when a field changes its meaning or goes.
const FORMAT: u32 = 2;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    format: u32,
    pub(super) machine: Machine,
    /// The CPUs that carried the load.
    pub(super) cpus: Cpus,
    /// How the programs of the comparison were attached, as the agent's were.
    pub(super) hook: String,
    /// A smoke test: its figures are not for judging.
    pub(super) quick: bool,
    pub(super) sections: Vec<Section>,
}

impl Report {
    /// Of what was measured.
    pub(super) fn new(
        machine: Machine,
        cpus: Cpus,
        hook: String,
        quick: bool,
        sections: Vec<Section>,
    ) -> Self {
        Self { format: FORMAT, machine, cpus, hook, quick, sections }
    }

    /// Reads one that was written by `--json`. Its tables are not in it: they are made of what it has.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let format = serde_json::from_str::<Format>(&text).with_context(|| {
            format!("{name} is no report of this bench: give it a file that `--json` wrote")
        })?;
        if format.format != FORMAT {
            bail!(
                "{name} has format {}, and this bench reads {FORMAT}: measure again, or compare with the version that \
                 wrote it",
                format.format
            );
        }
        serde_json::from_str(&text).with_context(|| format!("{name} is a damaged report: measure again"))
    }

    /// All of it as JSON.
    pub(super) fn json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("cannot write the report as JSON")?;
        text.push('\n');
        Ok(text)
    }

    /// Whether all was measured that was to be.
    pub(super) fn is_complete(&self) -> bool {
        self.sections.iter().all(|section| section.absent.is_empty())
    }

    /// A series by its names.
    pub(super) fn series(&self, section: &str, measure: &str, case: &str, variant: &str) -> Option<&Series> {
        let section = self.sections.iter().find(|one| one.name == section)?;
        section.series.iter().find(|one| one.measure == measure && one.case == case && one.variant == variant)
    }

    /// What a reader must know before the figures.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.machine.is_busy() {
            doubts.push(format!(
                "The machine was not quiet (load average {}): do not quote these figures.",
                self.machine.load_average
            ));
        }
        if self.quick {
            doubts.push(
                "A smoke test: that everything forwards and is counted is shown, the figures are not for judging."
                    .to_owned(),
            );
        }
        doubts
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Series {
    /// Over its rounds.
    pub(super) fn spread(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().flatten().copied())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::series::{Better, Unit};

    /// A report of one section.
    pub(in crate::bench) fn report(series: Vec<Series>) -> Report {
        let machine = Machine {
            revision: "1234".to_owned(),
            kernel: "6.18".to_owned(),
            cpu: "fast".to_owned(),
            cpu_count: 2,
            virtual_cpu: true,
            governor: None,
            default_qdisc: "fq".to_owned(),
            bpf_jit: true,
            load_average: 0.1,
        };
        let section = Section { series, ..Section::failed("packets", &anyhow::anyhow!("nothing")) };
        Report::new(machine, Cpus { load: 1, drain: 0 }, "tcx".to_owned(), false, vec![section])
    }

    pub(in crate::bench) fn series(variant: &str, rounds: impl IntoIterator<Item = f64>) -> Series {
        Series {
            measure: "time per packet".to_owned(),
            case: "VM -> node, 64 B".to_owned(),
            variant: variant.to_owned(),
            unit: Unit::Nanoseconds,
            better: Better::Lower,
            rounds: rounds.into_iter().map(Some).collect(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        let mut lossy = series("bridge", [1.0, 2.0]);
        lossy.rounds.push(None);
        let written = report(vec![lossy]);
        fs::write(&path, written.json().unwrap()).unwrap();
        let read = Report::read(&path).unwrap();
        assert_eq!(read.json().unwrap(), written.json().unwrap());
        let series = read.series("packets", "time per packet", "VM -> node, 64 B", "bridge").unwrap();
        assert_eq!((series.rounds.len(), series.spread().unwrap().count), (3, 2));
    }

    #[test]
    fn what_is_no_report_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", Report::read(&path).unwrap_err());
            assert!(error.contains("a.json"), "{error}");
            error
        };
        assert!(said("{}").contains("is no report of this bench"));
        assert!(said("figures").contains("is no report of this bench"));
        assert!(said(r#"{"format":1}"#).contains("has format 1, and this bench reads 2"));
        assert!(said(r#"{"format":2}"#).contains("is a damaged report"));
        assert!(
            format!("{:#}", Report::read(Path::new("/nowhere")).unwrap_err())
                .contains("cannot read /nowhere")
        );
    }
}
