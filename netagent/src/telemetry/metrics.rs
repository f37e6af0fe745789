// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports as Prometheus metrics, read from the kernel when they are asked for.

use std::{collections::BTreeMap, fmt};

use netagent_common::counters::{Count, DropReason, PortCounters};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::PortSample;

/// Reads all ports.
pub(super) type Sampler = Box<dyn Fn() -> Vec<PortSample> + Send + Sync>;

/// Collects the metrics of all ports.
pub(super) struct Ports {
    pub(super) sample: Sampler,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// A counter of both directions: name, help, and what it reads.
type Directed = (&'static str, &'static str, fn(&Count) -> u64);

const DIRECTED: [Directed; 2] = [
    ("netagent_port_packets", "Frames forwarded, by direction", |c| c.packets),
    ("netagent_port_bytes", "Bytes forwarded with Ethernet headers, by direction", |c| c.bytes),
];

impl Collector for Ports {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ports = (self.sample)();
        let counted: Vec<_> = ports
            .iter()
            .filter_map(|port| port.counters.as_ref().map(|counters| (port.id.to_string(), counters)))
            .collect();
        states(&mut encoder, &ports)?;
        for (name, help, read) in DIRECTED {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (port, counters) in &counted {
                for (direction, count) in [("from_vm", &counters.from_vm), ("to_vm", &counters.to_vm)] {
                    let labels = [("port", port.as_str()), ("direction", direction)];
                    ConstCounter::new(read(count)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        punted(&mut encoder, &counted)?;
        drops(&mut encoder, &counted)?;
        messages(&mut encoder, &ports)
    }
}

fn states(encoder: &mut DescriptorEncoder<'_>, ports: &[PortSample]) -> Result<(), fmt::Error> {
    let mut by_state = BTreeMap::<_, i64>::new();
    for port in ports {
        *by_state.entry(port.state).or_default() += 1;
    }
    let mut family =
        encoder.encode_descriptor("netagent_ports", "Ports, by state", None, MetricType::Gauge)?;
    for (state, ports) in by_state {
        ConstGauge::new(ports).encode(family.encode_family(&[("state", state)])?)?;
    }
    Ok(())
}

fn punted(
    encoder: &mut DescriptorEncoder<'_>,
    counted: &[(String, &PortCounters)],
) -> Result<(), fmt::Error> {
    let help = "Frames handed to the agent";
    let mut family =
        encoder.encode_descriptor("netagent_port_punted_packets", help, None, MetricType::Counter)?;
    for (port, counters) in counted {
        let labels = [("port", port.as_str())];
        ConstCounter::new(counters.punted.packets).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn drops(encoder: &mut DescriptorEncoder<'_>, counted: &[(String, &PortCounters)]) -> Result<(), fmt::Error> {
    let help = "Frames refused, by reason";
    let mut family =
        encoder.encode_descriptor("netagent_port_dropped_packets", help, None, MetricType::Counter)?;
    for (port, counters) in counted {
        for (reason, count) in DropReason::ALL.into_iter().zip(&counters.drops) {
            let labels = [("port", port.as_str()), ("reason", reason.as_str())];
            ConstCounter::new(count.packets).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn messages(encoder: &mut DescriptorEncoder<'_>, ports: &[PortSample]) -> Result<(), fmt::Error> {
    let help = "Messages of the hand-off (DHCP, router advertisements), by type and outcome";
    let mut family =
        encoder.encode_descriptor("netagent_port_hand_off_messages", help, None, MetricType::Counter)?;
    for port in ports {
        let id = port.id.to_string();
        for (message, count) in &port.messages {
            let labels = [("port", id.as_str()), ("message", message.as_str())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn a_scrape_shows_every_port_and_every_reason() {
        let mut counters = PortCounters::default();
        counters.to_vm.add(1500);
        counters.dropped(DropReason::SourceMac).add(60);
        let sample = move || {
            vec![
                PortSample {
                    id: "7-eth0".parse().unwrap(),
                    state: "ready",
                    counters: Some(counters),
                    messages: [("discover -> offer".to_owned(), 2), ("advertisement".to_owned(), 3)].into(),
                },
                PortSample {
                    id: "8-eth0".parse().unwrap(),
                    state: "failed",
                    counters: None,
                    messages: BTreeMap::new(),
                },
            ]
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Ports { sample: Box::new(sample) }));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "netagent_ports{state=\"failed\"} 1",
            "netagent_ports{state=\"ready\"} 1",
            "netagent_port_bytes_total{port=\"7-eth0\",direction=\"to_vm\"} 1500",
            "netagent_port_packets_total{port=\"7-eth0\",direction=\"from_vm\"} 0",
            "netagent_port_dropped_packets_total{port=\"7-eth0\",reason=\"source_mac\"} 1",
            "netagent_port_dropped_packets_total{port=\"7-eth0\",reason=\"punt_full\"} 0",
            "netagent_port_hand_off_messages_total{port=\"7-eth0\",message=\"discover -> offer\"} 2",
            "netagent_port_hand_off_messages_total{port=\"7-eth0\",message=\"advertisement\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "no line `{line}` in\n{text}");
        }
        assert!(!text.contains("port=\"8-eth0\""));
    }
}
