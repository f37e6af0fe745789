// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taps of several queues: made as asked, a flow of the node's stays on one of them, the guest may send on all, and
//! neither its choice of a queue nor a mark reaches the node.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use etherparse::PacketBuilder;
use netagent_tests::{
    agent::Agent,
    marking,
    netns::Netns,
    packet_socket::PacketSocket,
    poll,
    tap::{Tap, TapSpec},
    topology::{GATEWAY4, HOST_LINK, POD4, Pod, Topology},
};

use crate::{
    require_netns,
    scene::{self, SOON, Scene, TAP},
};

const FLOWS: u16 = 64;
const EACH: u8 = 5;
/// A VMM opens at most this many here; the tap may have more.
const MOST_OPEN: usize = 16;

fn address(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn udp(macs: [[u8; 6]; 2], addresses: [[u8; 4]; 2], ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let [from, to] = macs;
    let [source, destination] = addresses;
    let builder = PacketBuilder::ethernet2(from, to).ipv4(source, destination, 64).udp(ports[0], ports[1]);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Source port and payload of a frame that [`udp`] made.
fn read(frame: &[u8]) -> Option<(u16, &[u8])> {
    let port = frame.get(34..36)?;
    (frame.get(12..14)? == [8, 0] && frame.get(23)? == &17)
        .then_some((u16::from_be_bytes([port[0], port[1]]), frame.get(42..)?))
}

fn open(topology: &Topology, queues: usize) -> Vec<Tap> {
    let spec = TapSpec { multi_queue: true, ..TapSpec::default() };
    (0..queues).map(|_| Tap::open(&topology.pod, TAP, spec).unwrap()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn taps_have_the_queues_that_were_asked_for_and_all_of_them_work() {
    require_netns!();
    let agent = Agent::builder().start().unwrap();
    for asked in [1usize, 2, 4, 256] {
        let topology = Pod::default().build().unwrap();
        let port =
            scene::attach(&agent, &topology, &["--queues", &asked.to_string(), "--tier", "peer"]).unwrap();
        assert_eq!(port["tap"]["queues"], asked);
        as_the_kernel_has_it(&topology.pod, asked);
        if asked == 1 {
            continue;
        }
        let queues = open(&topology, asked.min(MOST_OPEN));
        let macs = [address(&topology.host_mac().unwrap()), address(&topology.pod_mac().unwrap())];
        flows_stay_on_their_queue(&topology, &queues, macs);
        every_queue_forwards_and_none_shows(&topology, &queues, macs);
    }
}

/// `noqueue` before it is up: a queueing discipline would have been made for each queue, and stay.
fn as_the_kernel_has_it(pod: &Netns, asked: usize) {
    let tap = &pod.ip_json(&format!("link show {TAP}")).unwrap()[0];
    assert_eq!(tap["qdisc"], "noqueue", "{tap}");
    assert_eq!(tap["linkinfo"]["info_data"]["multi_queue"], asked > 1, "{tap}");
    if asked > 1 {
        // The kernel makes room for 256 whatever is asked: how many there are is the opener's affair.
        assert!(tap["num_tx_queues"].as_u64().unwrap() >= asked as u64, "{tap}");
    }
    let qdiscs = pod.tc_json(&format!("qdisc show dev {TAP}")).unwrap();
    let kinds: Vec<_> = qdiscs.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["noqueue"]);
}

fn flows_stay_on_their_queue(topology: &Topology, queues: &[Tap], macs: [[u8; 6]; 2]) {
    let wire = PacketSocket::open(&topology.node, HOST_LINK).unwrap();
    for round in 0..EACH {
        for flow in 0..FLOWS {
            let ports = [20_000 + flow, 5001];
            wire.send(&udp(macs, [GATEWAY4.octets(), POD4.octets()], ports, &[round])).unwrap();
        }
    }
    let mut seen: BTreeMap<u16, BTreeSet<usize>> = BTreeMap::new();
    let mut count = 0;
    poll::try_until("all frames of all flows", SOON, || {
        for (number, queue) in queues.iter().enumerate() {
            while let Some(frame) = queue.recv(Duration::ZERO)? {
                if let Some((port @ 20_000.., _)) = read(&frame) {
                    seen.entry(port).or_default().insert(number);
                    count += 1;
                }
            }
        }
        Ok((count == u32::from(FLOWS) * u32::from(EACH)).then_some(()))
    })
    .unwrap();
    assert_eq!(seen.len(), usize::from(FLOWS));
    assert!(seen.values().all(|queues| queues.len() == 1), "a flow on several queues: {seen:?}");
    let used: BTreeSet<_> = seen.values().flatten().collect();
    assert!(
        used.len() > queues.len() / 2,
        "{FLOWS} flows use only {} of {} queues",
        used.len(),
        queues.len()
    );
}

fn every_queue_forwards_and_none_shows(topology: &Topology, queues: &[Tap], [to, from]: [[u8; 6]; 2]) {
    let wire = PacketSocket::open(&topology.node, HOST_LINK).unwrap();
    wire.only_unmarked().unwrap();
    for (number, queue) in queues.iter().enumerate() {
        let ports = [30_000 + number as u16, 5001];
        queue.send(&udp([from, to], [POD4.octets(), GATEWAY4.octets()], ports, b"up")).unwrap();
        let arrived = poll::try_until(&format!("a frame of queue {number}, not marked by it"), SOON, || {
            Ok(wire.recv(SOON)?.filter(|frame| read(frame) == Some((ports[0], b"up"))))
        });
        arrived.unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_mark_that_others_gave_the_guest_s_packet_is_gone_on_the_node() {
    require_netns!();
    let scene = Scene::with(Pod::default(), Agent::builder().arg("--without").arg("tcx")).unwrap();
    scene.attach(&["--tier", "peer"]).unwrap();
    let pin = scene.agent.bpffs().path().join("others");
    marking::pin(0x4e41, &pin).unwrap();
    let filter = ["tc", "filter", "add", "dev", TAP, "ingress", "pref", "1", "protocol", "all", "bpf", "da"];
    scene.pod().exec_ok(&[&filter[..], &["pinned", pin.to_str().unwrap()]].concat()).unwrap();
    let tap = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    let wire = PacketSocket::open(scene.node(), HOST_LINK).unwrap();
    wire.only_unmarked().unwrap();
    let macs = [scene.topology.pod_mac().unwrap(), scene.topology.host_mac().unwrap()];
    tap.send(&udp(macs.map(|mac| address(&mac)), [POD4.octets(), GATEWAY4.octets()], [30_000, 5001], b"up"))
        .unwrap();
    poll::try_until("the frame without its mark", SOON, || {
        Ok(wire.recv(SOON)?.filter(|frame| read(frame) == Some((30_000, b"up"))))
    })
    .unwrap();
}
