// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the samples say: throughput, and CPU time per GB of TCP and per million datagrams.

use super::{Case, Load, Measured, sample::Sample};
use crate::bench::{
    compared::{self, Column},
    guest::Player,
    report::table::cell,
    section::Section,
    series::{Better, Series, Unit},
    statistics::Spread,
    variant::Direction,
};

const THROUGHPUT: &str = "throughput";
const CPU: &str = "CPU time";
const VMM: &str = "CPU time of the VMM";
const IPERF: &str = "CPU time of iperf3";

const TCP_COLUMNS: [Column; 8] = [
    Column::of("Gbit/s", THROUGHPUT, 2),
    Column::over("x IP on tap", THROUGHPUT, "ip-on-tap"),
    Column::over("x bridge", THROUGHPUT, "bridge"),
    Column::of("CPU s/GB", CPU, 3),
    Column::over("x IP on tap", CPU, "ip-on-tap"),
    Column::over("x bridge", CPU, "bridge"),
    Column::of("VMM", VMM, 3),
    Column::of("iperf3", IPERF, 3),
];
const UDP_COLUMNS: [Column; 5] = [
    Column::of("CPU s/Mpkt", CPU, 2),
    Column::over("x IP on tap", CPU, "ip-on-tap"),
    Column::over("x bridge", CPU, "bridge"),
    Column::of("VMM", VMM, 2),
    Column::of("iperf3", IPERF, 2),
];

/// One figure of a sample.
struct Figure {
    measure: &'static str,
    unit: Unit,
    better: Better,
    of: fn(&Sample) -> Option<f64>,
}

fn figures(load: Load) -> Vec<Figure> {
    let cpu = |unit, all: fn(&Sample) -> Option<f64>, vmm, iperf| {
        [(CPU, all), (VMM, vmm), (IPERF, iperf)].map(|(measure, of)| Figure {
            measure,
            unit,
            better: Better::Lower,
            of,
        })
    };
    match load {
        Load::Tcp { .. } => {
            let throughput = Figure {
                measure: THROUGHPUT,
                unit: Unit::GigabitsPerSecond,
                better: Better::Higher,
                of: |sample| Some(sample.bits_per_second / 1e9),
            };
            let cpu = cpu(
                Unit::CpuSecondsPerGigabyte,
                |sample| Some(sample.cpu / sample.bytes * 1e9),
                |sample| Some(sample.vmm / sample.bytes * 1e9),
                |sample| Some(sample.iperf / sample.bytes * 1e9),
            );
            std::iter::once(throughput).chain(cpu).collect()
        }
        Load::Udp => cpu(
            Unit::CpuSecondsPerMillionPackets,
            |sample| Some(sample.cpu / sample.packets? * 1e6),
            |sample| Some(sample.vmm / sample.packets? * 1e6),
            |sample| Some(sample.iperf / sample.packets? * 1e6),
        )
        .into(),
    }
}

/// Sums up.
pub(super) fn section(
    measured: &[Measured],
    cases: &[Case],
    variants: &[(String, &'static str)],
    player: Player<'_>,
    alone: Series,
    absent: Vec<String>,
) -> Section {
    let mut series: Vec<Series> = measured.iter().flat_map(|one| of_one(one, player)).collect();
    let tables = cases
        .iter()
        .map(|case| {
            let columns: &[Column] = match case.load {
                Load::Tcp { .. } => &TCP_COLUMNS,
                Load::Udp => &UDP_COLUMNS,
            };
            let title = case.title(player);
            compared::table(title.clone(), &series, &title, variants, columns)
        })
        .collect();
    let remarks = remarks(measured, player, &alone);
    series.push(alone);
    Section {
        name: "streams".to_owned(),
        title: "Streams: iperf3 between the node and the guest".to_owned(),
        series,
        tables,
        remarks,
        absent,
    }
}

fn remarks(measured: &[Measured], player: Player<'_>, alone: &Series) -> Vec<String> {
    let mut remarks = vec![
        "CPU time is the whole machine's, less what it needs at rest. The VMM's and iperf3's are parts of it, with what \
         the kernel does within their calls: from the VM, the path is in the VMM's."
            .to_owned(),
    ];
    if let Player::Qemu(..) = player {
        remarks.push("What iperf3 took in the guest is part of the VMM's.".to_owned());
    }
    if let Some(cost) = Spread::of(alone.rounds.iter().flatten().copied()) {
        remarks.push(format!(
            "The stand-in by itself: {} ns for a frame of 64 bytes, read from one tap, written to another and dropped \
             there.",
            cell(Some(cost), 0)
        ));
    }
    let lossy: Vec<String> = measured
        .iter()
        .filter(|one| one.lossy > 0)
        .map(|one| {
            let (variant, case) = (one.variant.title(Direction::FromVm), one.case.title(player));
            format!("{} of {} of {variant}, {case}", one.lossy, one.samples.len())
        })
        .collect();
    if !lossy.is_empty() {
        remarks.push(format!("Runs that lost datagrams are left out: {}.", lossy.join("; ")));
    }
    remarks
}

fn of_one(one: &Measured, player: Player<'_>) -> Vec<Series> {
    figures(one.case.load)
        .into_iter()
        .map(|Figure { measure, unit, better, of }| Series {
            measure: measure.to_owned(),
            case: one.case.title(player),
            variant: one.variant.name(),
            unit,
            better,
            rounds: one.samples.iter().map(|sample| of(sample.as_ref()?)).collect(),
        })
        .collect()
}
