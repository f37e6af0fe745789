// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pod's own stack holds the guest's addresses and must not speak with them: nothing of it leaves by the pod link.

use std::time::Duration;

use etherparse::PacketBuilder;
use netagent_tests::{
    agent::Agent,
    packet_socket::PacketSocket,
    poll,
    tap::{Tap, TapSpec},
    topology::{GATEWAY4, GATEWAY6, HOST_LINK, POD_LINK, POD4, Pod},
};

use crate::{
    require_netns,
    scene::{SOON, Scene, TAP, number},
};

/// What ends the capture: a frame of the guest, sent when the pod has said all it wants.
const MARK: &[u8] = b"the guest's own frame";

/// Kernel and commands of the pod that all want to send: addresses that are checked for duplicates (with the group
/// reports that go with it), neighbour discovery, ARP, a link that comes up again.
const SPEAK: [&str; 5] = [
    "address add fd00:88::77/64 dev eth0",
    "link set eth0 down",
    "link set eth0 up",
    "address add 10.88.0.77/24 dev eth0",
    "route replace default via 10.88.0.1 dev eth0 onlink",
];

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_pod_s_own_stack_says_nothing() {
    require_netns!();
    for (without, tier) in [(None, "peer"), (None, "plain"), (Some("tcx"), "peer"), (Some("tcx"), "plain")] {
        let mut builder = Agent::builder();
        if let Some(feature) = without {
            builder = builder.arg("--without").arg(feature);
        }
        let scene = Scene::with(Pod::default(), builder).unwrap();
        // As a CNI leaves it: the link checks its addresses and asks for routers.
        scene.pod().sysctl(&format!("ipv6/conf/{POD_LINK}/accept_dad"), "1").unwrap();
        let port = scene.attach(&["--tier", tier]).unwrap();
        let mac = port["guest"]["mac"].as_str().unwrap().to_owned();
        let wire = PacketSocket::open(scene.node(), HOST_LINK).unwrap();
        for command in SPEAK {
            scene.pod().ip(command).unwrap();
        }
        for gateway in [GATEWAY4.to_string(), GATEWAY6.to_string()] {
            let ping = scene.pod().exec(&["ping", "-n", "-c", "1", "-W", "1", &gateway]).unwrap();
            assert_ne!(ping.code, 0, "the pod's stack reached {gateway}");
        }
        poll::try_until("the pod's stack to be refused", SOON, || {
            let refused = number(&scene.show()?, "/counters/drops/pod_stack").unwrap_or(0);
            Ok((refused >= 3).then_some(()))
        })
        .unwrap();

        let guest = Tap::open(scene.pod(), TAP, TapSpec::default()).unwrap();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(address(&mac), [0xff; 6])
            .ipv4(POD4.octets(), GATEWAY4.octets(), 64)
            .udp(5000, 5001)
            .write(&mut frame, MARK)
            .unwrap();
        guest.send(&frame).unwrap();
        let seen = wire.recv(SOON).unwrap().unwrap_or_default();
        assert!(seen.ends_with(MARK), "tier {tier}: the pod's stack sent {seen:02x?}");
        assert_eq!(wire.recv(Duration::ZERO).unwrap(), None);
    }
}

fn address(mac: &str) -> [u8; 6] {
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}
