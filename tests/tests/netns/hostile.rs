// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that means ill harms itself at most: the agent stays up, other ports are served, all of it is counted.

use std::{thread, time::Duration};

use etherparse::PacketBuilder;
use netagent_tests::{
    lease::DhcpClient,
    tap::{Tap, TapSpec},
    topology::{POD4, Pod},
};

use crate::{
    require_netns,
    scene::{self, Scene, TAP, is_pods, lease, number, ping},
};

const DISCOVERS: u64 = 1000;
/// Frames for the agent that a port may send in a burst, and per second.
const BURST: u64 = 64;
const MALFORMED: u64 = 200;

/// A DHCP message from `mac` with everything right, to be spoilt.
fn discover(mac: [u8; 6], transaction: u32) -> Vec<u8> {
    let mut message = vec![0u8; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&transaction.to_be_bytes());
    message[28..34].copy_from_slice(&mac);
    message.extend([99, 130, 83, 99, 53, 1, 1, 55, 4, 1, 3, 6, 121, 255]);
    message
}

fn frame(mac: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac, [0xff; 6]).ipv4([0; 4], [255; 4], 64).udp(68, 67);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

pub(crate) fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// More of a guest's questions at once than its share. The guest lasts as long as the tap that is returned.
pub(crate) fn storm(scene: &Scene, mac: [u8; 6]) -> Tap {
    let tap = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    for transaction in 0..DISCOVERS as u32 {
        tap.send(&frame(mac, &discover(mac, transaction))).unwrap();
    }
    tap
}

/// Packets that left the port: before the guest sends any, the questions of the self-test.
fn from_vm(port: &serde_json::Value) -> u64 {
    number(port, "/counters/from_vm/packets").unwrap()
}

/// xorshift: the same frames in every run.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_storm_of_dhcp_stays_in_its_own_port() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let neighbour = Pod::default().build().unwrap();
    scene.attach(&[]).unwrap();
    scene::attach(&scene.agent, &neighbour, &[]).unwrap();
    let asked = from_vm(&scene.show().unwrap());
    let mac = mac(&scene.topology.pod_mac().unwrap());
    let pid = scene.agent.pid();

    let tap = storm(&scene, mac);
    // While the storm's answers are on their way, the neighbour gets its lease.
    let guest = scene::guest(&scene.agent, &neighbour).unwrap();
    assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
    ping(&neighbour.node, &POD4.to_string()).unwrap();

    let port = scene.show().unwrap();
    let (punted, refused) = (
        number(&port, "/counters/punted/packets").unwrap(),
        number(&port, "/counters/drops/punt_rate").unwrap(),
    );
    // Every frame is accounted for, and no more than its share reached the agent.
    assert_eq!(punted + refused, DISCOVERS, "{port}");
    assert!(punted >= BURST && refused > 0, "{port}");
    let other = scene::show(&scene.agent, &neighbour).unwrap();
    assert_eq!(other["counters"]["drops"].get("punt_rate"), None, "{other}");
    assert_eq!(from_vm(&port), asked, "no DHCP frame leaves the pod");
    drop(tap);

    // Once the storm is over the same port is served, too.
    let guest = scene.guest().unwrap();
    assert!(is_pods(lease(&guest, DhcpClient::Dhclient).unwrap().address));
    assert_eq!(scene.agent.pid(), pid);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn malformed_messages_get_no_answer_and_do_no_harm() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let mac = mac(&scene.topology.pod_mac().unwrap());
    let tap = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for round in 0..MALFORMED {
        let mut payload = discover(mac, round as u32);
        match round % 5 {
            // Cut short anywhere, also within an option.
            0 => payload.truncate(next(&mut state) % payload.len()),
            // An option that is longer than the message.
            1 => payload.extend([82, 255, 1]),
            // A hardware address longer than its field.
            2 => payload[2] = next(&mut state) as u8,
            // Noise behind the header.
            3 => (0..next(&mut state) % 1000).for_each(|_| payload.push(next(&mut state) as u8)),
            // Noise everywhere.
            _ => payload.iter_mut().for_each(|byte| *byte = next(&mut state) as u8),
        }
        tap.send(&frame(mac, &payload)).unwrap();
        // The pace at which a port's tokens come back: the agent is to see these, not the token bucket.
        thread::sleep(Duration::from_millis(20));
    }
    let port = scene
        .wait_port("the agent to have seen the messages", |port| {
            // Router advertisements go out unasked.
            let seen = |port: &serde_json::Value| {
                port["dhcp"]["messages"].as_object().map_or(0, |all| {
                    let asked = all.iter().filter(|(said, _)| *said != "advertisement");
                    asked.filter_map(|(_, n)| n.as_u64()).sum()
                })
            };
            number(port, "/counters/punted/packets").is_ok_and(|punted| seen(port) == punted)
        })
        .unwrap();
    assert!(number(&port, "/counters/punted/packets").unwrap() > MALFORMED / 2, "{port}");
    let silent = port["dhcp"]["messages"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| name.starts_with("silent"))
        .count();
    assert!(silent > 0, "{port}");
    drop(tap);
    let guest = scene.guest().unwrap();
    assert!(is_pods(lease(&guest, DhcpClient::Udhcpc).unwrap().address));
    let log = scene.agent.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn frames_with_a_stolen_identity_do_not_leave() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let asked = from_vm(&scene.show().unwrap());
    let mac = mac(&scene.topology.pod_mac().unwrap());
    let host = self::mac(&scene.topology.host_mac().unwrap());
    let tap = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
    let udp = |source_mac, source| {
        let builder = PacketBuilder::ethernet2(source_mac, host).ipv4(source, [10, 88, 0, 1], 64).udp(1, 2);
        let mut frame = Vec::with_capacity(builder.size(8));
        builder.write(&mut frame, &[0; 8]).unwrap();
        frame
    };
    let own = POD4.octets();
    let mut vlan = udp(mac, own);
    vlan.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    for (reason, frame) in [
        ("source_mac", udp([2, 0, 0, 0, 0, 9], own)),
        ("source_ipv4", udp(mac, [10, 88, 0, 6])),
        ("vlan", vlan),
        ("malformed", udp(mac, own)[..20].to_vec()),
        ("ethertype", {
            let mut f = udp(mac, own);
            f[12..14].copy_from_slice(&[0x88, 0x63]);
            f
        }),
    ] {
        tap.send(&frame).unwrap();
        let port = scene
            .wait_port(&format!("a drop for {reason}"), |p| {
                p["counters"]["drops"][reason].as_u64() == Some(1)
            })
            .unwrap();
        assert_eq!(from_vm(&port), asked, "{reason}: {port}");
    }
    tap.send(&udp(mac, own)).unwrap();
    scene.wait_port("an honest frame to leave", |p| from_vm(p) == asked + 1).unwrap();
}
