// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pod link without addresses, as a layer 2 network without IPAM leaves it: the guest brings its own, or asks the network's
//! own server.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use dhcproto::{
    Decodable as _, Encodable as _,
    v4::{DhcpOption, Message, MessageType, Opcode, OptionCode},
};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use netagent_tests::{
    agent::Agent,
    attached,
    lease::DhcpClient,
    packet_socket::PacketSocket,
    stand_in::GUEST_LINK,
    topology::{HOST_LINK, Pod},
};

use crate::{
    require_netns,
    scene::{Scene, TAP, lease, number, ping},
};

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const LEASED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const SERVER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0x67, 1];
/// How often the server looks whether the test is over.
const TURN: Duration = Duration::from_millis(100);

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_guest_on_a_link_without_addresses_asks_the_network_s_own_server() {
    require_netns!();
    let pod = Pod { ipv4: false, ipv6: false, ..Pod::default() };
    let scene = Scene::with(pod, Agent::builder()).unwrap();
    let refused = scene.try_attach(&[]).unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("has no address") && refused.stderr.contains("--no-hand-off"),
        "{refused:?}"
    );

    let port = scene.attach(&["--no-hand-off"]).unwrap();
    let warnings = port["datapath"]["warnings"].to_string();
    assert!(warnings.contains("eth0 has no address"), "{port}");
    scene.node().ip(&format!("address add {NODE}/24 dev {HOST_LINK}")).unwrap();
    let guest = scene.guest().unwrap();
    let wire = PacketSocket::open(scene.node(), HOST_LINK).unwrap();
    let over = AtomicBool::new(false);
    let leased = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&wire, &over));
        let leased = lease(&guest, DhcpClient::Udhcpc);
        over.store(true, Ordering::Relaxed);
        server.join().unwrap().unwrap();
        leased.unwrap()
    });
    assert_eq!(leased.address, LEASED, "{leased:?}");
    ping(scene.node(), &LEASED.to_string()).unwrap();
    ping(&guest.guest, &NODE.to_string()).unwrap();
    let port = scene.show().unwrap();
    assert_eq!(number(&port, "/counters/punted/packets").unwrap(), 0, "{port}");
    assert_eq!(port["dhcp"]["messages"], serde_json::json!({}), "nobody is served: {port}");

    // It is held to its MAC all the same, and is nobody's server.
    let mac = bytes(port["guest"]["mac"].as_str().unwrap());
    let card = PacketSocket::open(&guest.guest, GUEST_LINK).unwrap();
    card.send(&udp(SERVER_MAC, (LEASED, 5000), (NODE, 5000), &[0; 8]).unwrap()).unwrap();
    card.send(&udp(mac, (LEASED, 67), (Ipv4Addr::BROADCAST, 68), &[0; 8]).unwrap()).unwrap();
    for reason in ["source_mac", "dhcp_server"] {
        let counted = |port: &serde_json::Value| port["counters"]["drops"][reason].as_u64() == Some(1);
        scene.wait_port(reason, counted).unwrap();
    }

    // To a prefix, once one is named.
    scene.attach(&["--no-hand-off", "--allow-prefix", "198.51.100.0/24"]).unwrap();
    card.send(&udp(mac, (LEASED, 5000), (NODE, 5000), &[0; 8]).unwrap()).unwrap();
    scene
        .wait_port("a drop for the source", |port| {
            port["counters"]["drops"]["source_ipv4"].as_u64() > Some(0)
        })
        .unwrap();

    drop(guest);
    scene.detach().unwrap();
    assert_eq!(attached::programs(scene.pod()).unwrap(), []);
    assert_ne!(scene.pod().exec(&["ip", "link", "show", TAP]).unwrap().code, 0, "the tap is still there");
}

/// A DHCP server with one address, until the test is over.
fn serve(wire: &PacketSocket, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let Some(frame) = wire.recv(TURN)? else { continue };
        let Ok(packet) = SlicedPacket::from_ethernet(&frame) else { continue };
        let Some(TransportSlice::Udp(asked)) = packet.transport else { continue };
        if asked.destination_port() != 67 {
            continue;
        }
        let asked = Message::from_bytes(asked.payload()).context("the guest's message")?;
        let answer = match asked.opts().get(OptionCode::MessageType) {
            Some(DhcpOption::MessageType(MessageType::Discover)) => MessageType::Offer,
            Some(DhcpOption::MessageType(MessageType::Request)) => MessageType::Ack,
            _ => continue,
        };
        let mut reply = Message::new_with_id(
            asked.xid(),
            [0, 0, 0, 0].into(),
            LEASED,
            NODE,
            [0, 0, 0, 0].into(),
            asked.chaddr(),
        );
        reply.set_opcode(Opcode::BootReply);
        let options = reply.opts_mut();
        options.insert(DhcpOption::MessageType(answer));
        options.insert(DhcpOption::ServerIdentifier(NODE));
        options.insert(DhcpOption::AddressLeaseTime(3600));
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        let payload = reply.to_vec().context("the answer")?;
        wire.send(&udp(SERVER_MAC, (NODE, 67), (Ipv4Addr::BROADCAST, 68), &payload)?)?;
    }
    Ok(())
}

fn udp(mac: [u8; 6], from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac, [0xff; 6])
        .ipv4(from.0.octets(), to.0.octets(), 64)
        .udp(from.1, to.1)
        .write(&mut frame, payload)
        .context("a frame")?;
    Ok(frame)
}

fn bytes(mac: &str) -> [u8; 6] {
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}
