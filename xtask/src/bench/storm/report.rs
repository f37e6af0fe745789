// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures of a storm, for people and as JSON.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{AtRest, OVER, Round, millis};
use crate::bench::{machine::Machine, statistics::Spread};

/// Layout of the JSON. Changes when a field changes its meaning or goes.
const FORMAT: u32 = 1;

/// A whole run.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct Report {
    format: u32,
    machine: Machine,
    ports: usize,
    /// A smoke test with a build for debugging: its figures are not for judging.
    quick: bool,
    at_rest: AtRest,
    rounds: Vec<Round>,
    /// The most memory that the agent had, in KiB.
    agent_memory_most_kib: u64,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        ports: usize,
        quick: bool,
        at_rest: AtRest,
        rounds: Vec<Round>,
        agent_memory_most_kib: u64,
    ) -> Self {
        Self { format: FORMAT, machine, ports, quick, at_rest, rounds, agent_memory_most_kib }
    }

    /// All of it as JSON.
    pub(in crate::bench) fn json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("cannot write the report as JSON")?;
        text.push('\n');
        Ok(text)
    }

    /// For a terminal.
    pub(in crate::bench) fn text(&self) -> String {
        let Self { ports, at_rest, .. } = self;
        let mut text = format!(
            "{}\n{ports} guests boot by DHCPv4: DISCOVER to ACK, with the guests' own part; median ± median absolute \
             deviation of the rounds\n\n\
             {:>12} {:>14} {:>14} {:>14} {:>14} {:>8} {:>12}\n",
            self.machine.line(),
            "begin within",
            "all bound ms",
            "p50 ms",
            "p99 ms",
            "longest ms",
            "retried",
            "agent CPU ms"
        );
        for over in OVER.map(millis) {
            let of = |figure: fn(&Round) -> f64| {
                let rounds = self.rounds.iter().filter(|round| round.over_ms == over);
                Spread::of(rounds.map(figure)).map_or_else(String::new, |spread| {
                    format!("{:.1} ± {:.1}", spread.median, spread.deviation)
                })
            };
            let retried: u32 = self
                .rounds
                .iter()
                .filter(|round| round.over_ms == over)
                .map(|round| round.boot.retried)
                .sum();
            text.push_str(&format!(
                "{:>12} {:>14} {:>14} {:>14} {:>14} {retried:>8} {:>12}\n",
                if over == 0 { "at once".to_owned() } else { format!("{over} ms") },
                of(|round| round.boot.all_bound_us as f64 / 1e3),
                of(|round| round.boot.quantile_us(0.5) as f64 / 1e3),
                of(|round| round.boot.quantile_us(0.99) as f64 / 1e3),
                of(|round| round.boot.quantile_us(1.0) as f64 / 1e3),
                of(|round| round.agent_cpu_ms as f64),
            ));
        }
        text.push_str(&format!(
            "\nagent: {} MiB at rest with {ports} ports, {} MiB at most; to attach them took {:.1} s, {:.1} s of its \
             CPU time\n",
            at_rest.memory_kib / 1024,
            self.agent_memory_most_kib / 1024,
            at_rest.attached_ms as f64 / 1e3,
            at_rest.attach_cpu_ms as f64 / 1e3,
        ));
        if self.machine.is_busy() {
            text.push_str("the machine was not quiet: do not quote these figures\n");
        }
        if self.quick {
            text.push_str(
                "a smoke test: that every guest is bound is shown, the figures are not for judging\n",
            );
        }
        text
    }
}
