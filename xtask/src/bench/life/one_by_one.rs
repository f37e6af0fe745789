// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports that come and go one after another: how long each call takes.

use std::time::Duration;

use anyhow::Result;
use netagent_tests::agent::Agent;

use super::{
    call::{attach, call, detach},
    figures::{Figures, millis},
};
use crate::bench::{crowd::Crowd, footprint::Footprint, series::Unit, step};

/// Enough for a 99th percentile twice: one after another all of a large crowd would take minutes and say no more.
const PORTS: usize = 200;

/// Ports come, the first of them to an agent that never had one, and go again.
pub(super) fn measure(figures: &mut Figures, crowd: &Crowd, agent: &Agent, calls: u32) -> Result<()> {
    let footprint = Footprint::of(agent)?;
    let pods = &crowd.pods[..crowd.pods.len().min(PORTS)];
    step("one by one", |step| {
        let idle: Vec<f64> =
            (0..calls).map(|_| call(agent, &["status"]).map(millis)).collect::<Result<_>>()?;
        figures.add("a call for nothing", "0 ports", Unit::Milliseconds, idle);
        for (verb, work) in [("attach", attach as fn(&_, &_) -> _), ("detach", detach)] {
            let before = footprint.cpu()?;
            let mut times = Vec::new();
            for (at, pod) in pods.iter().enumerate() {
                step.note(format!("{verb} {at} of {}", pods.len()));
                times.push(work(agent, pod)?);
            }
            add(figures, verb, &times, footprint.cpu()?.saturating_sub(before));
        }
        Ok(((), format!("{} ports come and go", pods.len())))
    })
}

fn add(figures: &mut Figures, verb: &str, times: &[Duration], cpu: Duration) {
    let Some((first, warm)) = times.split_first() else { return };
    let case = "one by one";
    figures.add(verb, "first port", Unit::Milliseconds, [millis(*first)]);
    figures.add_quantiles(verb, case, warm);
    figures.add_rate(verb, case, times.len(), times.iter().sum());
    figures.add(
        &format!("agent CPU time per {verb}"),
        case,
        Unit::Milliseconds,
        [millis(cpu) / times.len() as f64],
    );
}
