// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests and answers over TCP: how long a round trip takes, alone and beside a stream.
//!
//! All of it stays on one CPU: both programs, the stand-in, the path. A round trip is one chain of work, of which no two
//! parts can run at a time; over several CPUs each hand-over would wake one from its sleep, which takes longer than a
//! path and varies more than paths differ.

mod fio;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{interrupt, poll, process::Process, topology::POD4};

use self::fio::RoundTrips;
use super::{
    compared::{self, Column},
    guest::{self, Guest, Player},
    load::Cpus,
    order::order,
    section::Section,
    series::{Better, Series, Unit},
    step,
    variant::{Variant, Workshop},
};

/// In the order of the tables.
const VARIANTS: [Variant; 10] = [
    Variant::IpOnTap,
    Variant::IpOnTapVeth,
    Variant::Container,
    Variant::Bridge,
    Variant::Mirred,
    Variant::Macvtap,
    Variant::Redirect,
    Variant::NetagentPeer,
    Variant::NetagentPlain,
    Variant::NetagentXdp,
];
const ROUNDS: u32 = 8;
/// Short, so that there are many rounds.
const TIME: Duration = Duration::from_millis(300);
const QUICK_TIME: Duration = Duration::from_millis(100);
/// The stream beside the requests leaves them some of the CPU: else it is the scheduler that is measured.
const BESIDE: &str = "1G";
const FLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// What else goes through the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Nothing.
    Nothing,
    /// A TCP stream from the guest.
    Stream,
}

impl Beside {
    const ALL: [Self; 2] = [Self::Nothing, Self::Stream];

    fn title(self, player: Player<'_>) -> String {
        let title = match self {
            Self::Nothing => "idle",
            Self::Stream => "beside a stream of 1 Gbit/s from the VM",
        };
        format!("{title}{}", player.suffix())
    }
}

/// Which part of the round trips a figure bounds, and its name.
const QUANTILES: [(f64, &str); 3] =
    [(0.5, "round trip p50"), (0.99, "round trip p99"), (0.999, "round trip p99.9")];
const COLUMNS: [Column; 7] = [
    Column::of("p50, us", QUANTILES[0].1, 1),
    Column::over("x IP on tap + veth", QUANTILES[0].1, "ip-on-tap-veth"),
    Column::over("x bridge", QUANTILES[0].1, "bridge"),
    Column::of("p99, us", QUANTILES[1].1, 1),
    Column::over("x IP on tap + veth", QUANTILES[1].1, "ip-on-tap-veth"),
    Column::over("x bridge", QUANTILES[1].1, "bridge"),
    Column::of("p99.9, us", QUANTILES[2].1, 1),
];

/// Measures round trips through every variant that can be built.
pub(super) fn section(workshop: &Workshop, cpus: Cpus, player: Player<'_>, quick: bool) -> Result<Section> {
    let (guests, mut absent) = guest::all(&VARIANTS, workshop, player, cpus)?;
    let (time, rounds) = if quick { (QUICK_TIME, 1) } else { (TIME, ROUNDS) };
    let mut series: Vec<Series> = Vec::new();
    for beside in Beside::ALL {
        for guest in &guests {
            series.extend(QUANTILES.map(|(_, measure)| empty(measure, beside.title(player), guest)));
        }
    }
    step("requests", |step| {
        for round in 0..rounds {
            step.note(format!("round {} of {rounds}", round + 1));
            for (case, beside) in Beside::ALL.into_iter().enumerate() {
                for at in order(guests.len(), round) {
                    let Some(guest) = guests.get(at) else { continue };
                    let taken = take(guest, beside, cpus.load, time);
                    interrupt::check()?;
                    let first = (case * guests.len() + at) * QUANTILES.len();
                    for (one, (part, _)) in series.iter_mut().skip(first).zip(QUANTILES) {
                        one.rounds.push(taken.as_ref().ok().and_then(|times| times.quantile(part)));
                    }
                    if let Err(error) = taken {
                        absent.push(format!("{}, {}: {error:#}", guest.title(), beside.title(player)));
                    }
                }
            }
        }
        Ok(((), format!("{} variants, idle and beside a stream, {rounds} rounds", guests.len())))
    })?;
    let variants: Vec<_> = guests.iter().map(|guest| (guest.name(), guest.title())).collect();
    let tables = Beside::ALL
        .map(|beside| {
            let title = beside.title(player);
            compared::table(title.clone(), &series, &title, &variants, &COLUMNS)
        })
        .into();
    Ok(Section {
        name: "requests".to_owned(),
        title: "Requests: round trips of 64 bytes over TCP, node to guest and back".to_owned(),
        series,
        tables,
        remarks: Vec::new(),
        absent,
    })
}

fn empty(measure: &str, case: String, guest: &Guest) -> Series {
    Series {
        measure: measure.to_owned(),
        case,
        variant: guest.name(),
        unit: Unit::Microseconds,
        better: Better::Lower,
        rounds: Vec::new(),
    }
}

fn take(guest: &Guest, beside: Beside, cpu: usize, time: Duration) -> Result<RoundTrips> {
    let _stream = match beside {
        Beside::Nothing => None,
        Beside::Stream => Some(stream(guest, cpu)?),
    };
    RoundTrips::measure(guest, cpu, time)
}

/// A stream from the guest that flows, and ends with the value.
fn stream(guest: &Guest, cpu: usize) -> Result<Process> {
    let log = guest.log("stream");
    fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = guest.node().command("iperf3");
    command.args(["-c", &POD4.to_string(), "-R", "-b", BESIDE, "-t", "60", "-A", &guest.affinity(cpu, cpu)]);
    command.args(["-i", "0.1", "--forceflush"]);
    let mut process = Process::spawn_logged(&mut command, &log)?;
    poll::try_until("a stream to flow", FLOW_TIMEOUT, || {
        let said = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
        if let Some(status) = process.try_wait()? {
            bail!("iperf3 ended with {status}: {}", said.trim());
        }
        Ok(said.contains("bits/sec").then_some(()))
    })?;
    Ok(process)
}
