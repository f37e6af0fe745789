// SPDX-License-Identifier: MIT OR Apache-2.0
//! One run of iperf3, and what the machine spent on it.

use anyhow::{Context as _, Result};
use netagent_tests::{
    iperf::{Iperf, Report},
    topology::POD4,
};

use super::{Case, Load};
use crate::bench::{cpu_time::CpuTime, guest::Guest, load::Cpus, variant::Direction};

/// Of UDP: so few that every variant carries it, so that all do the same work.
const PACKETS_PER_SECOND: u64 = 50_000;
const PAYLOAD: u64 = 64;
const DATAGRAMS: u64 = 25_000;
/// A third of a second, or half of one, on machines of today.
const TCP_AMOUNT: &str = "512M";
/// Above this the work was not the same.
const MOST_LOST: f64 = 0.01;

/// What a run was and what it cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Payload bits per second that arrived.
    pub(super) bits_per_second: f64,
    /// Payload bytes that arrived.
    pub(super) bytes: f64,
    /// Datagrams that arrived; of TCP nothing is known.
    pub(super) packets: Option<f64>,
    /// CPU seconds of the whole machine, less what it needs at rest.
    pub(super) cpu: f64,
    /// Of these, the VMM with what the kernel did within its calls.
    pub(super) vmm: f64,
    /// And iperf3 at both ends, likewise.
    pub(super) iperf: f64,
}

/// Runs it once; nothing when datagrams were lost, for a lost one is cheap. The client is the node's; `at_rest` is how many
/// CPUs the machine needs by itself.
pub(super) fn take(guest: &Guest, case: Case, cpus: Cpus, at_rest: f64) -> Result<Option<Sample>> {
    let iperf = client(case).arg("-A").arg(guest.affinity(cpus.load, cpus.drain));
    let before = || Ok((CpuTime::now()?, guest.vmm_time()?));
    let ((cpu, vmm), report) = iperf.run_around(guest.node(), before)?;
    let (used, seconds) = CpuTime::used_since(cpu)?;
    let cpu = used - at_rest * seconds;
    let vmm = guest.vmm_time()?.saturating_sub(vmm).as_secs_f64();
    sample(&report, case.load, cpu, vmm)
}

/// Short, so that there are many: what drifts in the machine drifts in all variants of a round.
fn client(case: Case) -> Iperf {
    let iperf = match case.load {
        Load::Tcp { streams } => Iperf::to(POD4, 1).amount(TCP_AMOUNT).arg("-P").arg(streams.to_string()),
        Load::Udp => Iperf::to(POD4, 1)
            .amount(&(DATAGRAMS * PAYLOAD).to_string())
            .udp(&(PACKETS_PER_SECOND * PAYLOAD * 8).to_string())
            .arg("-l")
            .arg(PAYLOAD.to_string()),
    };
    match case.direction {
        Direction::FromVm => iperf.reverse(),
        Direction::ToVm => iperf,
    }
}

fn sample(report: &Report, load: Load, cpu: f64, vmm: f64) -> Result<Option<Sample>> {
    let end = &report.end;
    let (arrived, packets) = match load {
        Load::Tcp { .. } => (end.sum_received.context("iperf3 does not say what arrived")?, None),
        Load::Udp => {
            let sum = end.sum.context("iperf3 does not say what arrived")?;
            let sent = sum.packets.context("iperf3 does not count datagrams")? as f64;
            let lost = sum.lost_packets.context("iperf3 does not count lost datagrams")? as f64;
            if lost > sent * MOST_LOST {
                return Ok(None);
            }
            (sum, Some(sent - lost))
        }
    };
    let used = end.cpu_utilization_percent.unwrap_or_default();
    Ok(Some(Sample {
        bits_per_second: arrived.bits_per_second,
        bytes: arrived.bytes as f64,
        packets,
        cpu,
        vmm,
        iperf: (used.host_total + used.remote_total) / 100.0 * (arrived.end - arrived.start),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_that_were_lost_spoil_a_sample() {
        let report = |lost: u32| {
            Report::parse(&format!(
                r#"{{"end":{{"sum":{{"start":0,"end":2,"bytes":640,"bits_per_second":5120,
                             "packets":1000,"lost_packets":{lost}}},
                    "cpu_utilization_percent":{{"host_total":10,"remote_total":15}}}}}}"#
            ))
            .unwrap()
        };
        let sample = |lost| sample(&report(lost), Load::Udp, 1.0, 0.2);
        let few = sample(10).unwrap().unwrap();
        assert_eq!((few.packets, few.iperf), (Some(990.0), 0.5));
        assert!(sample(11).unwrap().is_none());
    }
}
