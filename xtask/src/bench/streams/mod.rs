// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bulk streams by iperf3: what a path carries, and the CPU time that the whole machine spends on it.

mod figures;
mod sample;

use std::time::Duration;

use anyhow::Result;
use netagent_tests::interrupt;

use self::sample::Sample;
use super::{
    cpu_time,
    guest::{self, Player, alone},
    load::Cpus,
    order::order,
    section::Section,
    step,
    variant::{Direction, Variant, Workshop},
};

/// In the order of the tables. Tier `xdp` is not among them: its links have no offloads, so its bulk TCP is another thing.
const VARIANTS: [Variant; 9] = [
    Variant::IpOnTap,
    Variant::IpOnTapVeth,
    Variant::Container,
    Variant::Bridge,
    Variant::Mirred,
    Variant::Macvtap,
    Variant::Redirect,
    Variant::NetagentPeer,
    Variant::NetagentPlain,
];
const ROUNDS: u32 = 7;
/// For which the machine is looked at while nothing runs.
const AT_REST: Duration = Duration::from_millis(500);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// As fast as it goes.
    Tcp { streams: u32 },
    /// Small datagrams at a rate that every variant carries: equal work for all.
    Udp,
}

/// What is measured again in each round, for every variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    direction: Direction,
    load: Load,
}

impl Case {
    const ALL: [Self; 6] = [
        Self { direction: Direction::FromVm, load: Load::Tcp { streams: 1 } },
        Self { direction: Direction::ToVm, load: Load::Tcp { streams: 1 } },
        Self { direction: Direction::FromVm, load: Load::Tcp { streams: 4 } },
        Self { direction: Direction::ToVm, load: Load::Tcp { streams: 4 } },
        Self { direction: Direction::FromVm, load: Load::Udp },
        Self { direction: Direction::ToVm, load: Load::Udp },
    ];
    /// A smoke test: one of each kind, one each way.
    const QUICK: [Self; 2] = [
        Self { direction: Direction::FromVm, load: Load::Tcp { streams: 1 } },
        Self { direction: Direction::ToVm, load: Load::Udp },
    ];

    /// What a guest translated by QEMU can do within reason.
    const QEMU: [Self; 2] = [Self::ALL[0], Self::ALL[1]];

    fn title(self, player: Player<'_>) -> String {
        let load = match self.load {
            Load::Tcp { streams: 1 } => "TCP, 1 stream".to_owned(),
            Load::Tcp { streams } => format!("TCP, {streams} streams"),
            Load::Udp => "UDP, 64 B".to_owned(),
        };
        format!("{}, {load}{}", self.direction.title(), player.suffix())
    }
}

/// One variant's samples of one case, round by round.
struct Measured {
    variant: Variant,
    case: Case,
    samples: Vec<Option<Sample>>,
    /// Runs without a sample because datagrams were lost.
    lossy: usize,
}

/// Measures streams through every variant that can be built.
pub(super) fn section(workshop: &Workshop, cpus: Cpus, player: Player<'_>, quick: bool) -> Result<Section> {
    let alone = alone::measure(workshop, cpus)?;
    let cases: &[Case] = match player {
        Player::StandIn if quick => &Case::QUICK,
        Player::StandIn => &Case::ALL,
        Player::Qemu(..) => &Case::QEMU,
    };
    let rounds = if quick { 1 } else { ROUNDS };
    let (guests, mut absent) = guest::all(&VARIANTS, workshop, player, cpus)?;
    let measured = step("streams", |step| {
        let at_rest = cpu_time::at_rest(AT_REST)?;
        let mut measured: Vec<Measured> = cases
            .iter()
            .flat_map(|&case| {
                guests.iter().map(move |guest| Measured {
                    variant: guest.variant,
                    case,
                    samples: Vec::new(),
                    lossy: 0,
                })
            })
            .collect();
        for round in 0..rounds {
            step.note(format!("round {} of {rounds}", round + 1));
            // The variants of a case one after another: what is compared is near in time.
            for case in order(cases.len(), round) {
                for guest in order(guests.len(), round) {
                    let (Some(one), Some(guest)) =
                        (measured.get_mut(case * guests.len() + guest), guests.get(guest))
                    else {
                        continue;
                    };
                    let taken = sample::take(guest, one.case, cpus, at_rest);
                    interrupt::check()?;
                    one.lossy += usize::from(matches!(taken, Ok(None)));
                    one.samples.push(taken.unwrap_or_else(|error| {
                        absent.push(format!("{}, {}: {error:#}", guest.title(), one.case.title(player)));
                        None
                    }));
                }
            }
        }
        let detail = format!("{} cases through {} variants, {rounds} rounds", cases.len(), guests.len());
        Ok((measured, detail))
    })?;
    let variants: Vec<_> = guests.iter().map(|guest| (guest.name(), guest.title())).collect();
    Ok(figures::section(&measured, cases, &variants, player, alone, absent))
}
