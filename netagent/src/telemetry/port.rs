// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metrics of all ports. Each series names its port; what else is known of a port is in `netagent_port_info`.

use std::fmt;

use netagent_common::counters::{Count, DropReason, PortCounters};
use prometheus_client::encoding::DescriptorEncoder;

use super::{
    PortSample,
    scrape::{counter, gauge},
};

/// A counter of both directions: name, help, and what it reads.
type Directed = (&'static str, &'static str, fn(&Count) -> u64);

const DIRECTED: [Directed; 2] = [
    ("netagent_port_packets", "Frames forwarded, by direction", |c| c.packets),
    ("netagent_port_bytes", "Bytes forwarded with Ethernet headers, by direction", |c| c.bytes),
];

/// The metrics of the ports.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, ports: &[PortSample]) -> fmt::Result {
    let named: Vec<_> = ports.iter().map(|port| (port.id.to_string(), port)).collect();
    let counted: Vec<_> = named.iter().filter_map(|(id, port)| Some((id, port.counters.as_ref()?))).collect();

    gauge(encoder, "netagent_port_info", "What is known of a port; always 1", named.iter().map(facts))?;
    let ready = named.iter().map(|(id, port)| ([("port", id.clone())], u64::from(port.ready)));
    gauge(encoder, "netagent_port_ready", "Whether a port is as desired", ready)?;
    for (name, help, read) in DIRECTED {
        let both = counted.iter().flat_map(|(id, counters)| {
            [("from_vm", &counters.from_vm), ("to_vm", &counters.to_vm)].map(|(direction, count)| {
                ([("port", (*id).clone()), ("direction", direction.to_owned())], read(count))
            })
        });
        counter(encoder, name, help, both)?;
    }
    let punted = counted.iter().map(|(id, c)| ([("port", (*id).clone())], c.punted.packets));
    counter(encoder, "netagent_port_punted_packets", "Frames handed to the agent", punted)?;
    let drops = counted.iter().flat_map(|(id, counters)| drops(id, counters));
    counter(encoder, "netagent_port_dropped_packets", "Frames refused, by reason", drops)?;
    let tap = named.iter().filter_map(|(id, port)| Some(([("port", id.clone())], port.tap_drops?)));
    counter(
        encoder,
        "netagent_port_tap_dropped_packets",
        "Frames for the guest that its tap dropped: the guest does not take them, or nobody has the tap open",
        tap,
    )?;
    let said = named.iter().flat_map(|(id, port)| {
        port.said.iter().map(|said| {
            let labels =
                [("port", id.clone()), ("message", said.message.clone()), ("outcome", said.outcome.clone())];
            (labels, said.count)
        })
    });
    counter(
        encoder,
        "netagent_port_hand_off_messages",
        "Messages of the hand-off (DHCP, router advertisements), by type and outcome",
        said,
    )
}

fn facts((id, port): &(String, &PortSample)) -> ([(&'static str, String); 10], u64) {
    let facts = &port.facts;
    let pod = &facts.origin.pod;
    let labels = [
        ("port", id.clone()),
        ("source", facts.origin.source.to_string()),
        ("pod_namespace", pod.namespace.clone()),
        ("pod_name", pod.name.clone()),
        ("pod_uid", pod.uid.clone()),
        ("netns", facts.netns.clone()),
        ("pod_link", facts.pod_link.clone()),
        ("tap", facts.tap.clone()),
        ("tier", facts.tier.clone()),
        ("hook", facts.hook.clone()),
    ];
    (labels, 1)
}

fn drops<'a>(
    id: &'a str,
    counters: &'a PortCounters,
) -> impl Iterator<Item = ([(&'static str, String); 2], u64)> + use<'a> {
    DropReason::ALL.into_iter().zip(&counters.drops).map(move |(reason, count)| {
        ([("port", id.to_owned()), ("reason", reason.as_str().to_owned())], count.packets)
    })
}
