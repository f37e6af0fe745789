// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many guests boot at once, and how long each waits for its address (DHCPv4, from DISCOVER to ACK).

mod boot;
mod figures;
mod guest;
mod message;

use std::{path::Path, time::Duration};

use anyhow::Result;
use netagent_tests::agent::Agent;

use self::{
    boot::{Boot, boot},
    guest::Guest,
};
use super::{crowd::Crowd, footprint::Footprint, hands::each, order::order, section::Section, step};

/// The times over which the guests begin.
const OVER: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(1)];
const ROUNDS: u32 = 5;
/// Attached at a time.
const HANDS: usize = 8;

/// One boot of all guests.
#[derive(Debug)]
struct Sample {
    boot: Boot,
    /// CPU time of the agent meanwhile.
    cpu: Duration,
}

/// Boots a guest in every pod of `crowd`, again and again. An error when one stays without an address.
pub(super) fn section(crowd: &Crowd, binary: &Path, quick: bool) -> Result<Section> {
    let agent = Agent::builder().binary(binary).netns(&crowd.node).start()?;
    let footprint = Footprint::of(&agent)?;
    let files = footprint.open_files()?;
    let guests = step("attach", |step| {
        let count = crowd.pods.len();
        let pod = |at: usize| &crowd.pods[at];
        let guests = each(HANDS, count, |at| {
            step.note(format!("port {at} of {count}"));
            Guest::attach(&agent, pod(at))
        })?;
        Ok((guests, format!("{count} ports")))
    })?;
    let rounds = if quick { 1 } else { ROUNDS };
    // One list for each of `OVER`.
    let mut samples: [Vec<Sample>; OVER.len()] = Default::default();
    step("boot", |step| {
        let mut number = 0;
        for round in 0..rounds {
            for at in order(OVER.len(), round) {
                let (over, samples) = (OVER[at], &mut samples[at]);
                step.note(format!("round {} of {rounds}, over {} ms", round + 1, over.as_millis()));
                // What is left from the boot before would help this one.
                footprint.wait_at_rest(files)?;
                number += 1;
                let before = footprint.cpu()?;
                let boot = boot(&guests, number, over)?;
                samples.push(Sample { boot, cpu: footprint.cpu()?.saturating_sub(before) });
            }
        }
        Ok(((), format!("{number} boots of all guests")))
    })?;
    let most = footprint.most_resident()?;
    step("detach", |_| {
        let ports = guests.len();
        drop(guests);
        each(HANDS, ports, |at| {
            let netns = crowd.pods[at].netns.path().display().to_string();
            agent.json(&["detach", "--netns", &netns]).map(drop)
        })?;
        Ok(((), format!("{ports} ports")))
    })?;
    Ok(figures::section(&samples, crowd.pods.len(), most))
}
