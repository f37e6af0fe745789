// SPDX-License-Identifier: MIT OR Apache-2.0
//! A record of the punt ring, whatever it says: it concerns the port that it names, and that one a little only.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytemuck::Zeroable as _;
use netagent::{
    core::{
        guest::{Guest, Router},
        hand_off::HandOff,
        ids::{MacAddr, NetnsId, PortId},
        pod::{Dns, Route},
    },
    dhcp::{Dialogue, Inbox, Outlet, Punt, Served, Service, Tap, Words},
};
use netagent_common::maps::{MAX_PORTS, PuntKind, Punted};

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const LEASE: Duration = Duration::from_secs(3600);
/// Slots that are served: with both families, with IPv4, with IPv6 and no router, and without an address.
const SLOTS: [u32; 4] = [0, 1, 2, MAX_PORTS - 1];
/// Times that each record comes.
const TIMES: u64 = 3;
/// Records that come before anybody has the time, and those of them that a port may keep waiting.
const FLOOD: usize = 100;
const WAITING: usize = 8;
/// What the dialogues of all inputs may be made of: types of messages, of answers, reasons of silence.
const NAMES: usize = 250;
const LONGEST_NAME: usize = 64;

/// The bytes are the record's: five numbers, then the frame, with zeros as far as bytes are missing.
pub fn punt(data: &[u8]) {
    let mut record = Punted::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut record);
    let given = data.len().min(bytes.len());
    if let (Some(to), Some(from)) = (bytes.get_mut(..given), data.get(..given)) {
        to.copy_from_slice(from);
    }
    let notes = Notes::default();
    let service = Service::with_outlet(LEASE, Box::new(notes.clone()));
    for slot in SLOTS {
        service.serve(slot, served(slot));
    }
    let punt = Punt::of(&record);
    let sound = record.slot < MAX_PORTS
        && PuntKind::from_u32(record.kind).is_some()
        && record.len as usize <= record.frame.len();
    assert_eq!(punt.is_some(), sound, "slot {}, kind {}, length {}", record.slot, record.kind, record.len);
    let Some(punt) = punt else { return };
    assert_eq!(punt.frame.len(), record.len as usize);
    check_inbox(&punt);

    for _ in 0..TIMES {
        service.take(&punt);
    }
    for slot in SLOTS {
        let dialogue = service.dialogue(slot);
        if slot == punt.slot {
            check_dialogue(&dialogue);
        } else {
            assert_eq!(dialogue, Dialogue::default(), "slot {slot} said nothing");
        }
    }
    let sent = notes.taken();
    assert!(sent.len() <= TIMES as usize * 2, "{} frames", sent.len());
    for (port, frame) in &sent {
        assert_eq!(*port, name(punt.slot), "it is another one's answer");
        // No longer than the link's MTU allows, but for DHCPv4's 576 and IPv6's 1280 bytes.
        assert!((42..=14 + 4 + 1400).contains(&frame.len()), "{} bytes", frame.len());
        let to = frame.get(..6);
        // An error goes back to where the frame came from, which the guard vouches for; all else to the guest or a group.
        let back = punt.kind == PuntKind::TooBig && to == punt.frame.get(6..12);
        let known =
            to == Some(&GUEST[..]) || to.is_some_and(|to| to.first().is_some_and(|byte| byte & 1 == 1));
        assert!(back || known, "for {to:02x?}");
    }
    // What it said moves nobody's schedule but its own: each speaks once at the beginning, or not at all.
    service.advertise(Instant::now() + Duration::from_secs(1));
    assert!(notes.taken().iter().all(|(port, _)| [name(0), name(2)].contains(port)));
}

fn check_inbox(punt: &Punt) {
    let mut inbox = Inbox::default();
    let kept = (0..FLOOD).filter(|_| inbox.put(punt.clone()).is_ok()).count();
    assert_eq!(kept, WAITING);
    let other = Punt { slot: (punt.slot + 1) % MAX_PORTS, ..punt.clone() };
    assert!(inbox.put(other.clone()).is_ok());
    let turns: Vec<Punt> = inbox.collect();
    assert_eq!(
        turns.iter().position(|turn| *turn == other),
        Some(1),
        "it waits for one of the other at most"
    );
    assert_eq!(turns.len(), WAITING + 1);
}

fn check_dialogue(dialogue: &Dialogue) {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let messages = &dialogue.messages;
    assert_eq!(messages.values().sum::<u64>(), TIMES, "each is counted once: {messages:?}");
    assert!(!messages.contains_key("defect"), "a server panicked");
    // The same frame gets the same answer, but for routers, who speak to all but once in a while.
    assert!(messages.len() <= 2, "{messages:?}");
    assert!(dialogue.last.is_empty() || messages.contains_key(&dialogue.last), "{dialogue:?}");
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    for name in messages.keys() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " _->".contains(c);
        assert!(name.len() <= LONGEST_NAME && name.chars().all(plain), "{name:?}");
        seen.insert(name.clone());
        assert!(seen.len() <= NAMES, "a guest makes up names: {seen:?}");
    }
}

/// A port and a frame that was sent to its tap.
type Sent = (PortId, Vec<u8>);

/// Notes what is sent.
#[derive(Clone, Debug, Default)]
struct Notes {
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Notes {
    fn taken(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outlet for Notes {
    fn send(&self, tap: &Arc<Tap>, words: Words) -> bool {
        let frames = words.frames.into_iter().map(|frame| (tap.port.clone(), frame));
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).extend(frames);
        true
    }
}

fn name(slot: u32) -> PortId {
    format!("{}-eth0", slot + 7).parse().unwrap_or_else(|e| panic!("a port's name: {e:?}"))
}

fn served(slot: u32) -> Served {
    let ip = |address: &str| address.parse::<IpAddr>().ok();
    let net = |net: &str| net.parse().ok();
    let route =
        |to: &str, via: &str| Some(Route { destination: net(to)?, gateway: Some(ip(via)?), metric: 0 });
    let (addresses, routes, routers): (Vec<_>, Vec<_>, &[&str]) = match slot {
        0 => (
            vec![net("10.0.0.2/24"), net("fd00::2/64"), net("fd00::3/128")],
            vec![route("0.0.0.0/0", "10.0.0.1"), route("::/0", "fe80::1")],
            &["fe80::1", "fe80::2"],
        ),
        1 => (vec![net("10.0.0.2/32")], vec![route("0.0.0.0/0", "169.254.1.1")], &[]),
        2 => (vec![net("fd00::2/128")], Vec::new(), &[]),
        _ => Default::default(),
    };
    let routers = routers.iter().filter_map(|router| router.parse().ok()).enumerate();
    Served {
        port: name(slot),
        netns: "/run/netns/not-there".into(),
        netns_id: NetnsId { dev: 0, ino: 0 },
        tap_ifindex: slot + 1,
        guest: Guest {
            mac: MacAddr(GUEST),
            addresses: addresses.into_iter().flatten().collect(),
            routes: routes.into_iter().flatten().collect(),
            dns: Dns {
                servers: ["10.96.0.10", "fd00:96::a"].into_iter().filter_map(ip).collect(),
                search: vec!["svc.cluster.local".to_owned(), "a..b".to_owned()],
            },
            hostname: Some("vm-1".to_owned()),
            mtu: 1400,
            hand_off: HandOff::default(),
            routers: routers
                .map(|(at, link_local)| Router { link_local, default: at == 0, routes: Vec::new() })
                .collect(),
        },
        gone: Vec::new(),
    }
}
