// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which figures become charts.

mod svg;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use self::svg::{Bar, Chart, Panel};
use super::Report;
use crate::bench::{
    section::TIME_PER_PACKET,
    series::Series,
    statistics::paired,
    variant::{Direction, Variant},
};

/// Writes a chart for each part that has figures for one, and says which files.
pub(in crate::bench) fn write(folder: &Path, report: &Report) -> Result<Vec<std::path::PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let charts = [
        ("packets", packets(report)),
        ("streams", streams(report)),
        ("cpu", cpu(report)),
        ("requests", requests(report)),
    ];
    let mut written = Vec::new();
    for (name, chart) in charts.into_iter().filter(|(_, chart)| !chart.is_empty()) {
        let path = folder.join(format!("{name}.svg"));
        fs::write(&path, chart.svg()).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// Each variant less the floor, and that only where both were measured in the same round.
fn packets(report: &Report) -> Chart {
    let panel = |direction: Direction| {
        let case = format!("{}, 64 B", direction.title());
        let floor = report.series("packets", TIME_PER_PACKET, &case, &Variant::Floor.name());
        let bars = of_case(report, "packets", TIME_PER_PACKET, &case).filter_map(|(variant, series)| {
            let over = paired(&series.rounds, &floor?.rounds, |our, floor| our - floor)?;
            (variant != Variant::Floor).then(|| bar(variant, direction, over))
        });
        Panel { title: case.clone(), bars: bars.collect() }
    };
    Chart {
        title: "What a packet costs on top of sending and receiving it",
        note: "ns of one CPU for a packet of 64 bytes, less the floor (dropped at the first hook); shorter is better",
        digits: 0,
        one_scale: true,
        panels: Direction::ALL.map(panel).into(),
    }
}

fn streams(report: &Report) -> Chart {
    Chart {
        title: "TCP, one stream",
        note: "Gbit/s between node and guest, all on two CPUs; longer is better",
        digits: 1,
        one_scale: true,
        panels: of_streams(report, "throughput"),
    }
}

fn cpu(report: &Report) -> Chart {
    Chart {
        title: "CPU time per GB of TCP",
        note: "seconds of the whole machine, guest and iperf3 included; shorter is better",
        digits: 2,
        one_scale: true,
        panels: of_streams(report, "CPU time"),
    }
}

fn of_streams(report: &Report, measure: &str) -> Vec<Panel> {
    let panel = |direction: Direction| {
        let case = format!("{}, TCP, 1 stream", direction.title());
        plain(report, "streams", measure, &case, direction)
    };
    Direction::ALL.map(panel).into()
}

fn requests(report: &Report) -> Chart {
    let panel = |measure: &str| Panel {
        title: measure.to_owned(),
        ..plain(report, "requests", measure, "idle", Direction::FromVm)
    };
    Chart {
        title: "Round trips of 64 bytes over TCP, node to guest and back",
        note: "us, all of it on one CPU; shorter is better",
        digits: 1,
        one_scale: false,
        panels: ["round trip p50", "round trip p99"].map(panel).into(),
    }
}

fn plain(report: &Report, section: &str, measure: &str, case: &str, direction: Direction) -> Panel {
    let bars = of_case(report, section, measure, case)
        .filter_map(|(variant, series)| Some(bar(variant, direction, series.spread()?)));
    Panel { title: case.to_owned(), bars: bars.collect() }
}

fn of_case<'a>(
    report: &'a Report,
    section: &str,
    measure: &str,
    case: &str,
) -> impl Iterator<Item = (Variant, &'a Series)> {
    let series = report.sections.iter().filter(move |one| one.name == section).flat_map(|one| &one.series);
    series
        .filter(move |one| one.measure == measure && one.case == case)
        .filter_map(|one| Some((Variant::from_str(&one.variant, false).ok()?, one)))
}

fn bar(variant: Variant, direction: Direction, spread: crate::bench::statistics::Spread) -> Bar {
    Bar { label: variant.title(direction), ours: variant.is_netagent(), spread }
}
