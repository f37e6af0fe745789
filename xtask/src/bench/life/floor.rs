// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel alone takes for the three programs of a port, if they are the least that a program can be: no agent can be
//! faster. Each attachment by tcx waits for an RCU grace period while it holds the lock of all links (`tcx_entry_sync`,
//! include/net/tcx.h), so many ports at a time are not faster either.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::Figures;
use crate::bench::{
    bpf::{attach::Attacher, insn, program::Program},
    crowd::{Crowd, Pod},
    scene::{Qdisc, TAP, make_tap},
    step,
};

const POD_LINK: &str = "eth0";
const MTU: u32 = 1500;
const PODS: usize = 100;

/// Attaches and detaches in pods that have no port, one by one.
pub(super) fn measure(figures: &mut Figures, crowd: &Crowd, attacher: &Attacher) -> Result<()> {
    let pods = &crowd.pods[..crowd.pods.len().min(PODS)];
    step("floor", |step| {
        let mut times = Vec::new();
        for (at, pod) in pods.iter().enumerate() {
            step.note(format!("{at} of {}", pods.len()));
            times.push(attach(pod, attacher)?);
        }
        figures.add_quantiles("three bare attachments", "one by one", &times);
        Ok(((), format!("{} pods, three bare programs in each", pods.len())))
    })
}

fn attach(pod: &Pod, attacher: &Attacher) -> Result<Duration> {
    make_tap(&pod.netns, MTU, Qdisc::Noqueue)?;
    let program = Program::load("bench_next", &insn::next())?;
    let started = Instant::now();
    let attached = [
        attacher.ingress(&pod.netns, TAP, &program)?,
        attacher.egress(&pod.netns, POD_LINK, &program)?,
        attacher.ingress(&pod.netns, POD_LINK, &program)?,
    ];
    let took = started.elapsed();
    drop(attached);
    attacher.clean(&pod.netns, POD_LINK)?;
    pod.netns.ip(&format!("link delete {TAP}"))?;
    Ok(took)
}
