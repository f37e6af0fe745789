// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest whose card has a larger MTU than the pod link is told so: pings learn it, streams go on, and who floods or
//! lies about who it is gets no more of it than its share.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use etherparse::PacketBuilder;
use netagent_tests::{
    agent::Agent,
    exchange,
    lease::DhcpClient,
    netns::Netns,
    poll,
    stand_in::{GUEST_LINK, StandIn, StandInSpec},
    tap::{Offloads, Tap, TapSpec},
    topology::{GATEWAY4, GATEWAY6, HOST_LINK, POD4, POD6, Pod, Topology},
};
use serde_json::Value;

use crate::{
    require_netns,
    scene::{self, SOON, Scene, TAP, configure, is_pods, lease, ping, wait_ping},
    wired::is_too_big,
};

/// The pod link's.
const MTU: u32 = 1400;
/// What the guest believes.
const GUEST_MTU: u32 = 1500;
/// A packet between the two.
const PACKET: usize = 1450;
const STREAM: usize = 2 << 20;
/// Frames for the agent that a port may send in a burst, and per second.
const BURST: u64 = 64;
const PER_SECOND: f64 = 50.0;
/// Far more than the burst.
const FLOOD: u64 = 2000;

/// The pod that all of them are about.
fn narrow() -> Pod {
    Pod { mtu: MTU, ..Pod::default() }
}

/// A guest with the pod's addresses whose card takes more than the pod link.
fn misled(agent: &Agent, topology: &Topology, offloads: Offloads) -> StandIn {
    let port = scene::show(agent, topology).unwrap();
    let spec = StandInSpec { offloads, ..StandInSpec::new(TAP, port["guest"]["mac"].as_str().unwrap()) };
    let guest = StandIn::start(&topology.pod, &spec).unwrap();
    configure(&guest).unwrap();
    guest.guest.ip(&format!("link set {GUEST_LINK} mtu {GUEST_MTU}")).unwrap();
    guest
}

/// The MTU that the guest has learned for the path to `address`.
fn learned(guest: &Netns, address: &str) -> bool {
    guest.ip(&format!("route get {address}")).unwrap().contains(&format!("mtu {MTU}"))
}

fn oversized(port: &Value) -> u64 {
    port["counters"]["drops"]["oversized"].as_u64().unwrap_or(0)
}

/// Errors that the guest was sent.
fn told(port: &Value) -> u64 {
    port["dhcp"]["messages"]["too_big -> mtu"].as_u64().unwrap_or(0)
}

/// Frames that reached the agent: those it answered, and those for whose answers the port had no room.
fn heard(port: &Value) -> u64 {
    told(port) + port["dhcp"]["messages"]["dropped busy"].as_u64().unwrap_or(0)
}

/// One ping of [`PACKET`] bytes that no router may cut; what `ping` printed.
fn long_ping(guest: &Netns, address: SocketAddr) -> String {
    let payload = PACKET - if address.is_ipv4() { 28 } else { 48 };
    let words = ["ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s"];
    let done =
        guest.exec(&[&words[..], &[&payload.to_string(), &address.ip().to_string()]].concat()).unwrap();
    assert_ne!(done.code, 0, "{done:?}");
    done.stdout + &done.stderr
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_ping_too_long_teaches_the_guest_the_mtu() {
    require_netns!();
    let scene = Scene::with(narrow(), Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = misled(&scene.agent, &scene.topology, Offloads::On);
    let gateways: [SocketAddr; 2] = [(GATEWAY4, 0).into(), (GATEWAY6, 0).into()];
    for (gateway, says) in gateways.into_iter().zip(["mtu = 1400", "mtu=1400"]) {
        let address = gateway.ip().to_string();
        wait_ping(&guest.guest, &address).unwrap();
        assert!(!learned(&guest.guest, &address));
        let before = told(&scene.show().unwrap());
        let said = long_ping(&guest.guest, gateway);
        assert!(said.contains(says), "{said}");
        assert!(learned(&guest.guest, &address), "{address}");
        let port = scene.show().unwrap();
        // The next one would not leave the guest.
        assert_eq!((told(&port) - before, oversized(&port)), (1, told(&port)), "{port}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn streams_of_a_guest_with_offloads_find_the_mtu() {
    streams_find_the_mtu(Offloads::On);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn streams_of_a_guest_without_offloads_find_the_mtu() {
    streams_find_the_mtu(Offloads::Off);
}

/// Each byte arrives, though the far end announces segments that the pod link does not take.
fn streams_find_the_mtu(offloads: Offloads) {
    require_netns!();
    let scene = Scene::with(narrow(), Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let guest = misled(&scene.agent, &scene.topology, offloads);
    // As behind a router: the node's own route would announce what fits.
    for (address, headers) in [(format!("{POD4}/32"), 40), (format!("{POD6}/128"), 60)] {
        let segment = GUEST_MTU - headers;
        scene.node().ip(&format!("route change {address} dev {HOST_LINK} advmss {segment}")).unwrap();
    }
    for address in [(GATEWAY4, 0).into(), SocketAddr::from((GATEWAY6, 0))] {
        let before = scene.show().unwrap();
        exchange::tcp(scene.node(), &guest.guest, address, STREAM).unwrap();
        let port = scene.show().unwrap();
        // Else the stream never met the pod link's MTU, and shows nothing.
        assert!(oversized(&port) > oversized(&before), "{address}: {port}");
        assert!(told(&port) > told(&before), "{address}: {port}");
        assert!(learned(&guest.guest, &address.ip().to_string()), "{address}");
    }
    for netns in [scene.node(), &guest.guest] {
        assert_eq!(exchange::checksum_errors(netns).unwrap(), 0, "checksums in {}", netns.name());
    }
}

/// The MACs of a datagram from guest to node.
#[derive(Clone, Copy)]
struct Macs {
    guest: [u8; 6],
    node: [u8; 6],
}

impl Macs {
    fn of(topology: &Topology) -> Self {
        Self { guest: mac(&topology.pod_mac().unwrap()), node: mac(&topology.host_mac().unwrap()) }
    }

    fn ipv4(self, source: [u8; 4]) -> Vec<u8> {
        let to = GATEWAY4.octets();
        long(PacketBuilder::ethernet2(self.guest, self.node).ipv4(source, to, 64).udp(1, 2), 28)
    }

    fn ipv6(self, source: [u8; 16]) -> Vec<u8> {
        let to = GATEWAY6.octets();
        long(PacketBuilder::ethernet2(self.guest, self.node).ipv6(source, to, 64).udp(1, 2), 48)
    }
}

/// A packet of [`PACKET`] bytes.
fn long(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, headers: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![0; PACKET - headers]).unwrap();
    frame
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_flood_of_frames_too_long_gets_its_share_of_answers_and_no_more() {
    require_netns!();
    let scene = Scene::with(narrow(), Agent::builder()).unwrap();
    let neighbour = narrow().build().unwrap();
    scene.attach(&[]).unwrap();
    scene::attach(&scene.agent, &neighbour, &[]).unwrap();
    let pid = scene.agent.pid();
    let tap = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    let frame = Macs::of(&scene.topology).ipv4(POD4.octets());

    let started = Instant::now();
    let (served, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !served.load(Ordering::SeqCst) || sent.load(Ordering::SeqCst) < FLOOD {
                tap.send(&frame).unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
        // Ends the flood, whatever becomes of the neighbour.
        let _end = Ends(&served);
        poll::wait_until("the flood to begin", SOON, || {
            (sent.load(Ordering::SeqCst) > 2 * BURST).then_some(())
        })
        .unwrap();
        let guest = misled(&scene.agent, &neighbour, Offloads::On);
        ping(&neighbour.node, &POD4.to_string()).unwrap();
        let said = long_ping(&guest.guest, (GATEWAY4, 0).into());
        assert!(said.contains("mtu = 1400"), "{said}");
    });
    let port = scene.wait_port("the burst to have reached the agent", |port| heard(port) >= BURST).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let sent = sent.load(Ordering::SeqCst);
    assert_eq!(oversized(&port), sent, "{port}");
    // By the clock that fills the bucket, so this holds on the slowest machine.
    let most = BURST as f64 + PER_SECOND * seconds + 1.0;
    assert!(heard(&port) as f64 <= most, "{} frames in {seconds} s: {port}", heard(&port));
    assert!(heard(&port) < sent, "each of {sent} frames reached the agent: {port}");
    let answers = std::iter::from_fn(|| tap.recv(Duration::ZERO).unwrap()).filter(|frame| is_too_big(frame));
    assert!((1..=told(&port)).contains(&(answers.count() as u64)), "{port}");
    drop(tap);

    let other = scene::show(&scene.agent, &neighbour).unwrap();
    assert_eq!((oversized(&other), told(&other)), (1, 1), "{other}");
    assert_eq!(other["counters"]["drops"].get("punt_rate"), None, "{other}");
    // Once the flood is over the same port is served, too.
    let guest = scene.guest().unwrap();
    assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
    assert_eq!(scene.agent.pid(), pid);
}

/// Sets its flag in the end, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_frame_too_long_from_somebody_else_is_not_answered() {
    require_netns!();
    let scene = Scene::with(narrow(), Agent::builder()).unwrap();
    scene.attach(&[]).unwrap();
    let macs = Macs::of(&scene.topology);
    let thief = Macs { guest: [2, 0, 0, 0, 0, 9], ..macs };
    let (own4, own6) = (POD4.octets(), POD6.octets());
    let (mut other4, mut other6) = (own4, own6);
    (other4[3], other6[15]) = (6, 6);
    let tap = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    for (reason, count, frame) in [
        ("source_mac", 1, thief.ipv4(own4)),
        ("source_mac", 2, thief.ipv6(own6)),
        ("source_ipv4", 1, macs.ipv4(other4)),
        ("source_ipv6", 1, macs.ipv6(other6)),
    ] {
        tap.send(&frame).unwrap();
        scene
            .wait_port(&format!("a drop for {reason}"), |port| {
                port["counters"]["drops"][reason].as_u64() == Some(count)
            })
            .unwrap();
    }
    // What is answered, is answered in order: nothing else comes before these two.
    for (count, frame) in [(1, macs.ipv4(own4)), (2, macs.ipv6(own6))] {
        tap.send(&frame).unwrap();
        let port = scene.wait_port("an honest frame to be answered", |port| told(port) == count).unwrap();
        assert_eq!(oversized(&port), count, "{port}");
    }
    let mut answers = 0;
    poll::try_until("both answers at the tap", SOON, || {
        while let Some(frame) = tap.recv(Duration::ZERO)? {
            answers += u64::from(is_too_big(&frame));
        }
        Ok((answers >= 2).then_some(()))
    })
    .unwrap();
    assert_eq!((answers, told(&scene.show().unwrap())), (2, 2));
}
