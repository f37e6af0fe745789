// SPDX-License-Identifier: MIT OR Apache-2.0
//! A port like that of the vectors, between a tap and the host peer of a pod link, for frames of any kind.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
};

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map, MapData};
use netagent_common::{
    ABI_VERSION,
    maps::{Learned, Port, UNSERVED},
    rule::Rule,
};
use netagent_tests::{
    agent::Agent,
    netns::Netns,
    packet_socket::PacketSocket,
    poll,
    tap::{Tap, TapSpec},
    topology::{GATEWAY4, HOST_LINK, Layout, POD_LINK, POD4, Pod, Topology},
    vectors::LEARNED,
};
use serde_json::Value;

use crate::scene::{self, SOON, TAP};

/// The node's end has the MAC that the vectors call the gateway's.
const HOST_MAC: [u8; 6] = [0x0a, 0x58, 0x0a, 0x58, 0, 1];
/// What the agent says to the guest in its own name, answers to DHCP, comes from here.
const AGENT_MAC: [u8; 6] = [0x02, 0x6e, 0x61, 0, 0, 1];
/// Payload of the frame that ends a wait; a number follows it.
const MARK: &[u8] = b"the end of vector ";

/// What a port counted: drops by reason, and `from_vm`, `to_vm` and `punted` packets.
pub(crate) type Counted = BTreeMap<String, u64>;

/// Both ends of a port.
pub(crate) struct Wired {
    pub(crate) tap: Tap,
    pub(crate) host: PacketSocket,
    pub(crate) topology: Topology,
    guest_mac: [u8; 6],
    marks: u64,
    /// The port's place in the map of learned addresses; none for a bridge.
    learned: Option<(u32, Array<MapData, RawLearned>)>,
}

// Values as plain bytes: what aya copies, without a word about their type.
type RawPort = [u8; size_of::<Port>()];
type RawLearned = [u8; size_of::<Learned>()];

/// What came out at the other end before the mark did.
pub(crate) type Arrived = Vec<Vec<u8>>;

impl Wired {
    /// Makes the pod for `port` and attaches it, as operators would ask for such a port.
    pub(crate) fn attach(agent: &Agent, port: &Port, tier: &str) -> Result<Self> {
        let topology = pod(port)?;
        let flags = flags(port, tier);
        scene::attach(agent, &topology, &flags.iter().map(String::as_str).collect::<Vec<_>>())?;
        let learned = learned(agent, &topology)?;
        Ok(Self { learned: Some(learned), ..Self::bridged(topology, port.guest_mac.octets())? })
    }

    /// Opens both ends of a pod that somebody else wired.
    pub(crate) fn bridged(topology: Topology, guest_mac: [u8; 6]) -> Result<Self> {
        let tap = Tap::open(&topology.pod, TAP, TapSpec::default())?;
        let host = PacketSocket::open(&topology.node, HOST_LINK)?;
        Ok(Self { tap, host, topology, guest_mac, marks: 0, learned: None })
    }

    /// Asks for another tier; everything else stays.
    pub(crate) fn switch(&self, agent: &Agent, port: &Port, tier: &str) -> Result<()> {
        let flags = flags(port, tier);
        let shown =
            scene::attach(agent, &self.topology, &flags.iter().map(String::as_str).collect::<Vec<_>>())?;
        match shown["datapath"]["tier"].as_str() {
            Some(now) if now == tier => Ok(()),
            other => bail!("asked for tier {tier}, the port has {other:?}"),
        }
    }

    /// Lets the port have learned [`LEARNED`] or nothing, long ago: it may learn another one now.
    pub(crate) fn learn(&mut self, learned: bool) -> Result<()> {
        let (slot, map) = self.learned.as_mut().context("a bridge learns nothing")?;
        let entry = Learned { interface: if learned { LEARNED.interface } else { 0 }, changed_ns: 0 };
        map.set(*slot, bytemuck::cast::<Learned, RawLearned>(entry), 0).context("cannot write LEARNED")
    }

    /// What the port has counted.
    pub(crate) fn counted(&self, agent: &Agent) -> Result<Counted> {
        let shown = scene::show(agent, &self.topology)?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let counters = &shown["counters"];
        let mut counted: Counted = counters["drops"]
            .as_object()
            .context("no drops in the port's counters")?
            .iter()
            .map(|(reason, count)| (reason.clone(), number(count)))
            .collect();
        for way in ["from_vm", "to_vm", "punted"] {
            counted.insert(way.to_owned(), number(&counters[way]["packets"]));
        }
        Ok(counted)
    }

    /// What arrives at the host peer of what `send` writes to the tap.
    pub(crate) fn guest_sends(&mut self, send: impl FnOnce(&Tap) -> Result<()>) -> Result<Arrived> {
        send(&self.tap)?;
        let mark = self.mark();
        // The guest's own MAC at this end: behind it the port's may be another one.
        let frame = udp(self.guest_mac, [0xff; 6], POD4.octets(), GATEWAY4.octets(), &mark);
        self.tap.send(&frame)?;
        let mut arrived = Vec::new();
        loop {
            let frame = self.host.recv(SOON)?.context("the guest's own frame does not arrive")?;
            if frame.ends_with(&mark) {
                return Ok(arrived);
            }
            arrived.push(frame);
        }
    }

    /// What arrives at the tap of what is sent on the host peer; what the agent says to the guest does not count.
    pub(crate) fn node_sends(&mut self, sent: &[u8]) -> Result<Arrived> {
        self.host.send(sent)?;
        let mark = self.mark();
        self.host.send(&udp(HOST_MAC, self.guest_mac, GATEWAY4.octets(), POD4.octets(), &mark))?;
        let mut arrived = Vec::new();
        poll::try_until("the node's own frame at the tap", SOON, || {
            while let Some(frame) = self.tap.recv(SOON)? {
                if frame.ends_with(&mark) {
                    return Ok(Some(()));
                }
                if !is_agents(&frame) {
                    arrived.push(frame);
                }
            }
            Ok(None)
        })?;
        Ok(arrived)
    }

    fn mark(&mut self) -> Vec<u8> {
        self.marks += 1;
        [MARK, self.marks.to_string().as_bytes(), b"."].concat()
    }
}

/// The pod that `port` describes. Nobody on the node answers: what arrives there is looked at and ends.
pub(crate) fn pod(port: &Port) -> Result<Topology> {
    let topology = Pod { mtu: port.mtu, layout: Layout::Subnet, ..Pod::default() }.build()?;
    let Topology { node, pod, .. } = &topology;
    deaf(node)?;
    node.ip(&format!("link set {HOST_LINK} address {}", spell(HOST_MAC)))?;
    pod.ip(&format!("link set {POD_LINK} address {}", spell(port.pod_mac.octets())))?;
    // For the link-local address of a global gateway the agent would ask, again and again: here nobody answers.
    pod.ip("-6 route delete default")?;
    // Next hops are what the agent finds in the pod's routes.
    for neighbour in port.ipv6_neighbours.iter().filter(|address| !address.is_unspecified()) {
        let via = Ipv6Addr::from(neighbour.octets());
        pod.ip(&format!("-6 route add 2001:db8:ffff::/64 via {via} dev {POD_LINK}"))?;
    }
    Ok(topology)
}

/// Without addresses and neighbours the node's own stack has nothing to say; packet sockets see what comes in.
fn deaf(node: &Netns) -> Result<()> {
    for family in ["ipv4", "ipv6"] {
        node.sysctl(&format!("{family}/conf/all/forwarding"), "0")?;
    }
    node.sysctl(&format!("ipv6/conf/{HOST_LINK}/disable_ipv6"), "1")?;
    node.ip(&format!("address flush dev {HOST_LINK}"))?;
    node.ip(&format!("link set {HOST_LINK} arp off"))?;
    Ok(())
}

/// How an operator asks for such a port.
fn flags(port: &Port, tier: &str) -> Vec<String> {
    let mut flags = vec!["--tier".to_owned(), tier.to_owned()];
    let mut add = |flag: &str, value: String| flags.extend([flag.to_owned(), value]);
    if port.guest_mac != port.pod_mac {
        add("--mac", spell(port.guest_mac.octets()));
    }
    let off: Vec<_> = Rule::ALL.into_iter().filter(|rule| !port.holds_to(*rule)).map(Rule::as_str).collect();
    if !off.is_empty() {
        add("--guard-off", off.join(","));
    }
    if port.flags & UNSERVED != 0 {
        flags.push("--no-hand-off".to_owned());
    }
    let mut add = |flag: &str, value: String| flags.extend([flag.to_owned(), value]);
    for prefix in port.ipv4_prefixes.iter().filter(|prefix| prefix.mask.0 != 0) {
        let address = Ipv4Addr::from(prefix.address.octets());
        add("--allow-prefix", format!("{address}/{}", prefix.mask.0.count_ones()));
    }
    for prefix in port.ipv6_prefixes.iter().filter(|prefix| !prefix.mask.is_unspecified()) {
        let length = prefix.mask.network.count_ones() + prefix.mask.interface.count_ones();
        add("--allow-prefix", format!("{}/{length}", Ipv6Addr::from(prefix.address.octets())));
    }
    for id in port.vlans.into_iter().filter(|id| *id != 0) {
        add("--allow-vlan", id.to_string());
    }
    for ethertype in port.ethertypes.into_iter().filter(|ethertype| *ethertype != 0) {
        add("--allow-ethertype", format!("{ethertype:#06x}"));
    }
    flags
}

/// The port's slot, found by its namespace, and the map in which that slot holds what it has learned.
fn learned(agent: &Agent, topology: &Topology) -> Result<(u32, Array<MapData, RawLearned>)> {
    let pins = agent.bpffs().pins()?;
    let open = |name: &str| -> Result<Map> {
        let pin = pins.iter().find(|pin| pin.ends_with(name)).with_context(|| format!("no map {name}"))?;
        Ok(Map::Array(MapData::from_pin(pin).with_context(|| format!("cannot open {}", pin.display()))?))
    };
    let inode = std::fs::metadata(topology.pod.path()).context("cannot read the pod's namespace")?.ino();
    let ports: Array<MapData, RawPort> =
        open(&format!("PORTS-v{ABI_VERSION}"))?.try_into().context("the map of ports is no array")?;
    for slot in 0..ports.len() {
        let port: Port = bytemuck::cast(ports.get(&slot, 0).context("cannot read the map of ports")?);
        if port.netns_ino == inode {
            return Ok((slot, open("LEARNED")?.try_into().context("LEARNED is no array")?));
        }
    }
    bail!("no port of {} among those of the agent", topology.pod.name())
}

/// Whether the agent said it: in its own name, or in the next hop's about a frame of the guest that was too long.
fn is_agents(frame: &[u8]) -> bool {
    frame.get(6..12) == Some(&AGENT_MAC) || is_too_big(frame)
}

/// Whether it is fragmentation needed (RFC 1191) or packet too big (RFC 4443, section 3.2), tagged or not.
pub(crate) fn is_too_big(frame: &[u8]) -> bool {
    let tag = if frame.get(12..14) == Some(&[0x81, 0x00]) { 4 } else { 0 };
    let Some(packet) = frame.get(12 + tag..) else { return false };
    match packet {
        [0x08, 0x00, 0x45, ..] => packet.get(11) == Some(&1) && packet.get(22..24) == Some(&[3, 4]),
        [0x86, 0xdd, ..] => packet.get(8) == Some(&58) && packet.get(42..44) == Some(&[2, 0]),
        _ => false,
    }
}

fn udp(from: [u8; 6], to: [u8; 6], source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let builder =
        etherparse::PacketBuilder::ethernet2(from, to).ipv4(source, destination, 64).udp(5000, 5001);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// A MAC as `ip` and the command line take it.
pub(crate) fn spell(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
