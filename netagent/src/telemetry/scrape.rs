// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sample as text, and the forms that all metrics share.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{Sample, agent, port, source};

/// The sample in the OpenMetrics text format.
pub(super) fn text(sample: Sample) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Node(sample)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Node(Sample);

impl Collector for Node {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        agent::encode(&mut encoder, &self.0.agent)?;
        source::encode(&mut encoder, &self.0.agent.sources)?;
        port::encode(&mut encoder, &self.0.ports)
    }
}

/// Labels, and a value.
type Series<const N: usize> = ([(&'static str, String); N], u64);

/// A counter with labels. `name` comes without `_total`.
pub(super) fn counter<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = Series<N>>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// A gauge with labels.
pub(super) fn gauge<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = Series<N>>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use netagent_common::counters::{DropReason, PortCounters};
    use prometheus_client::metrics::histogram::Histogram;

    use super::*;
    use crate::{
        core::origin::{Origin, Pod, Source},
        telemetry::{AgentSample, PortFacts, PortSample, Said, SourceSample},
    };

    fn agent() -> AgentSample {
        let passes = Histogram::new([0.01, 0.1]);
        passes.observe(0.05);
        AgentSample {
            states: vec![("ready", 1), ("failed", 1)],
            passes,
            failures: vec![("netns", 0), ("step", 3)],
            punt_drops: vec![("punt_full", 4)],
            sources: vec![SourceSample {
                name: "cri",
                up: true,
                pods: 5,
                unserved: vec![("wire", 2), ("netns", 0)],
                refused: vec![("late", 6)],
            }],
            abi: 7,
        }
    }

    fn port(id: &str) -> PortSample {
        PortSample {
            id: id.parse().unwrap(),
            ready: false,
            facts: PortFacts::default(),
            counters: None,
            tap_drops: None,
            said: Vec::new(),
        }
    }

    #[test]
    fn a_scrape_shows_every_port_and_every_reason() {
        let mut counters = PortCounters::default();
        counters.to_vm.add(1500);
        counters.drops[DropReason::SourceMac as usize].add(60);
        let pod = Pod { uid: "u-1".into(), namespace: "ns".into(), name: "vm".into() };
        let facts = PortFacts {
            origin: Origin { source: Source::Cri, pod, ..Origin::default() },
            netns: "/run/netns/x".into(),
            pod_link: "eth0".into(),
            tap: "tap0".into(),
            tier: "peer".into(),
            hook: "tcx".into(),
        };
        let said = |message: &str, outcome: &str, count| Said {
            message: message.to_owned(),
            outcome: outcome.to_owned(),
            count,
        };
        let ready = PortSample {
            ready: true,
            facts,
            counters: Some(counters),
            tap_drops: Some(9),
            said: vec![said("discover", "offer", 2)],
            ..port("7-eth0")
        };
        let text = text(Sample { agent: agent(), ports: vec![ready, port("8-eth0")] }).unwrap();
        for line in [
            "netagent_ports{state=\"failed\"} 1",
            "netagent_ports{state=\"ready\"} 1",
            "netagent_reconcile_failures_total{class=\"netns\"} 0",
            "netagent_reconcile_failures_total{class=\"step\"} 3",
            "netagent_punt_dropped_packets_total{reason=\"punt_full\"} 4",
            "netagent_source_up{source=\"cri\"} 1",
            "netagent_source_pods{source=\"cri\"} 5",
            "netagent_unserved_asks{source=\"cri\",reason=\"wire\"} 2",
            "netagent_unserved_asks{source=\"cri\",reason=\"netns\"} 0",
            "netagent_refused_pods_total{source=\"cri\",reason=\"late\"} 6",
            "netagent_reconcile_pass_duration_seconds_bucket{le=\"0.1\"} 1",
            "netagent_reconcile_pass_duration_seconds_count 1",
            "netagent_port_info{port=\"7-eth0\",source=\"cri\",pod_namespace=\"ns\",pod_name=\"vm\",pod_uid=\"u-1\",\
             netns=\"/run/netns/x\",pod_link=\"eth0\",tap=\"tap0\",tier=\"peer\",hook=\"tcx\"} 1",
            "netagent_port_ready{port=\"7-eth0\"} 1",
            "netagent_port_ready{port=\"8-eth0\"} 0",
            "netagent_port_bytes_total{port=\"7-eth0\",direction=\"to_vm\"} 1500",
            "netagent_port_packets_total{port=\"7-eth0\",direction=\"from_vm\"} 0",
            "netagent_port_dropped_packets_total{port=\"7-eth0\",reason=\"source_mac\"} 1",
            "netagent_port_dropped_packets_total{port=\"7-eth0\",reason=\"pod_stack\"} 0",
            "netagent_port_punted_packets_total{port=\"7-eth0\"} 0",
            "netagent_port_tap_dropped_packets_total{port=\"7-eth0\"} 9",
            "netagent_port_hand_off_messages_total{port=\"7-eth0\",message=\"discover\",outcome=\"offer\"} 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        assert!(text.contains(&format!("version=\"{}\",abi=\"7\"", env!("CARGO_PKG_VERSION"))), "{text}");
        // What a port has not is left out, not 0.
        assert!(!text.contains("dropped_packets_total{port=\"8-eth0\""), "{text}");
    }

    #[test]
    fn a_label_from_outside_cannot_end_its_line() {
        let mut odd = port("7-eth0");
        odd.facts.netns = "/run/\"}\n# x\\".into();
        let text = text(Sample { agent: agent(), ports: vec![odd] }).unwrap();
        assert!(text.contains("netns=\"/run/\\\"}\\n# x\\\\\""), "{text}");
    }
}
