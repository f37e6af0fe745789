// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service with an outlet that only notes what is sent, and where it takes threads, with one that sends.

use std::{net::Ipv6Addr, sync::atomic::AtomicBool, sync::atomic::Ordering};

use etherparse::PacketBuilder;

use super::{exchange::POISON, *};
use crate::core::{
    guest::{Guest, Router},
    hand_off::HandOff,
    ids::{MacAddr, NetnsId},
    pod::Dns,
};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const LEASE: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
/// Longest wait between advertisements (RFC 4861, section 6.2.1, as `ra` has it).
const INTERVAL: Duration = Duration::from_secs(600);
const DISCOVER: u8 = 1;
const RELEASE: u8 = 7;
const ADVERTISEMENT: u8 = 134;

/// A tap's index and a frame that was sent to it.
type Sent = (u32, Vec<u8>);

/// Notes what is sent.
#[derive(Clone, Debug, Default)]
struct Notes {
    sent: Arc<Mutex<Vec<Sent>>>,
    full: Arc<AtomicBool>,
}

impl Outlet for Notes {
    fn send(&self, tap: &Arc<Tap>, words: Words) -> bool {
        if self.full.load(Ordering::Relaxed) {
            return false;
        }
        self.sent.lock().unwrap().extend(words.frames.into_iter().map(|frame| (tap.ifindex, frame)));
        true
    }
}

impl Notes {
    fn service() -> (Self, Service) {
        let notes = Self::default();
        (notes.clone(), Service::with_outlet(LEASE, Box::new(notes)))
    }

    /// What was sent since the last call.
    fn taken(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Router and router lifetime of the advertisements that were sent since the last call.
    fn advertised(&self) -> Vec<(String, u16)> {
        let advertisement = |(_, frame): Sent| {
            assert_eq!(frame[54], ADVERTISEMENT);
            let source: [u8; 16] = frame[22..38].try_into().unwrap();
            (Ipv6Addr::from(source).to_string(), u16::from_be_bytes([frame[60], frame[61]]))
        };
        self.taken().into_iter().map(advertisement).collect()
    }
}

fn guest() -> Guest {
    Guest {
        mac: MAC,
        addresses: vec!["10.0.0.2/24".parse().unwrap()],
        routes: Vec::new(),
        dns: Dns::default(),
        hostname: None,
        mtu: 1500,
        hand_off: HandOff::default(),
        routers: Vec::new(),
    }
}

/// A guest whose IPv6 routers have these link-local addresses, the first of them the default one.
fn routed(routers: &[&str]) -> Guest {
    let router = |(at, address): (usize, &&str)| Router {
        link_local: address.parse().unwrap(),
        default: at == 0,
        routes: vec!["fd00:9::/64".parse().unwrap()],
    };
    Guest {
        addresses: vec!["fd00::2/64".parse().unwrap()],
        routers: routers.iter().enumerate().map(router).collect(),
        ..guest()
    }
}

fn served(port: &str, tap_ifindex: u32, guest: Guest) -> Served {
    Served {
        port: port.parse().unwrap(),
        netns: "/run/netns/not-there".into(),
        netns_id: NetnsId { dev: 0, ino: 0 },
        tap_ifindex,
        guest,
        gone: Vec::new(),
    }
}

/// A client's message of this type (option 53).
fn message(slot: u32, message_type: u8) -> Punt {
    let mut message = vec![1, 1, 6, 0];
    message.resize(28, 0);
    message.extend(MAC.0);
    message.resize(236, 0);
    message.extend([99, 130, 83, 99, 53, 1, message_type, 255]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC.0, [0xff; 6])
        .ipv4([0; 4], [0xff; 4], 64)
        .udp(68, 67)
        .write(&mut frame, &message)
        .unwrap();
    Punt { slot, kind: PuntKind::Dhcpv4, tag: 0, frame }
}

/// A DHCPv6 solicit for an address (RFC 8415, 18.2.1).
fn solicit(slot: u32) -> Punt {
    let duid = [0, 3, 0, 1, MAC.0[0], MAC.0[1], MAC.0[2], MAC.0[3], MAC.0[4], MAC.0[5]];
    let message = [&[1, 0, 0, 1][..], &[0, 1, 0, 10], &duid, &[0, 3, 0, 12], &[0; 12]].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC.0, [0x33, 0x33, 0, 1, 0, 2])
        .ipv6(octets("fe80::2"), octets("ff02::1:2"), 1)
        .udp(546, 547)
        .write(&mut frame, &message)
        .unwrap();
    Punt { slot, kind: PuntKind::Dhcpv6, tag: 0, frame }
}

fn octets(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().unwrap().octets()
}

fn solicitation(slot: u32) -> Punt {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC.0, [0x33, 0x33, 0, 0, 0, 2])
        .ipv6(octets("fe80::2"), octets("ff02::2"), 255)
        .icmpv6_raw(133, 0, [0; 4])
        .write(&mut frame, &[])
        .unwrap();
    Punt { slot, kind: PuntKind::RouterSolicitation, tag: 0, frame }
}

fn count(service: &Service, slot: u32, said: &str) -> u64 {
    service.dialogue(slot).messages.get(said).copied().unwrap_or_default()
}

/// Lets time pass up to `until`; when there was something to say.
fn pass(service: &Service, mut now: Instant, until: Instant) -> Vec<Instant> {
    let mut spoken = Vec::new();
    while let Some(due) = service.advertise(now) {
        assert!(due > now);
        if due > until {
            break;
        }
        now = due;
        spoken.push(due);
    }
    spoken
}

#[test]
fn each_guest_is_answered_on_its_own_tap() {
    let (notes, service) = Notes::service();
    service.serve(0, served("7-eth0", 70, guest()));
    service.serve(1, served("8-eth0", 80, guest()));
    service.take(&message(1, DISCOVER));
    assert_eq!(notes.taken().iter().map(|(tap, _)| *tap).collect::<Vec<_>>(), [80]);
    assert_eq!((count(&service, 1, "discover -> offer"), service.dialogue(0)), (1, Dialogue::default()));
    assert_eq!(service.dialogue(1).last, "discover -> offer");
    // A slot that nobody has.
    service.take(&message(2, DISCOVER));
    assert_eq!(notes.taken(), []);
}

#[test]
fn a_guest_with_ipv6_is_served_by_all_three_and_one_without_by_none() {
    let (notes, service) = Notes::service();
    let mut dual = routed(&["fe80::1"]);
    dual.addresses.push("10.0.0.2/24".parse().unwrap());
    service.serve(0, served("7-eth0", 70, dual));
    service.serve(1, served("8-eth0", 80, Guest { addresses: Vec::new(), ..guest() }));
    for slot in [0, 1] {
        for punt in [message(slot, DISCOVER), solicit(slot), solicitation(slot)] {
            service.take(&punt);
        }
    }
    assert_eq!(notes.taken().iter().map(|(tap, _)| *tap).collect::<Vec<_>>(), [70; 3]);
    let said = |slot| service.dialogue(slot).messages.into_keys().collect::<Vec<_>>();
    assert_eq!(
        said(0),
        ["discover -> offer", "router_solicitation -> advertisement", "solicit -> advertise"]
    );
    assert_eq!(
        said(1),
        ["dhcpv4 without lease", "dhcpv6 without lease", "router_solicitation silent nothing_to_say"]
    );
}

#[test]
fn what_there_is_no_room_for_is_counted_and_not_called_answered() {
    let (notes, service) = Notes::service();
    service.serve(0, served("7-eth0", 70, guest()));
    notes.full.store(true, Ordering::Relaxed);
    service.take(&message(0, DISCOVER));
    service.refuse(0);
    assert_eq!((count(&service, 0, BUSY), service.dialogue(0).last.as_str()), (2, ""));
}

#[test]
fn a_dialogue_outlives_a_change_and_not_its_port() {
    let (_, service) = Notes::service();
    service.serve(0, served("7-eth0", 1, guest()));
    service.take(&message(0, RELEASE));
    service.serve(0, served("7-eth0", 2, guest()));
    assert_eq!(count(&service, 0, "release"), 1);
    assert_eq!(service.dialogue(0).last, "", "a release is not answered");
    service.serve(0, served("8-eth0", 2, guest()));
    assert_eq!(service.dialogue(0), Dialogue::default());
    assert!(service.serving(0, &"7-eth0".parse().unwrap()).is_none());
    service.stop(0);
    service.take(&message(0, DISCOVER));
    assert_eq!(service.dialogue(0), Dialogue::default());
}

#[test]
fn a_defect_that_a_guest_finds_is_its_port_s_alone() {
    let (notes, service) = Notes::service();
    service.serve(0, served("7-eth0", 70, guest()));
    service.serve(1, served("8-eth0", 80, guest()));
    for kind in [PuntKind::Dhcpv4, PuntKind::Dhcpv6, PuntKind::RouterSolicitation, PuntKind::TooBig] {
        service.take(&Punt { slot: 0, kind, tag: 0, frame: POISON.to_vec() });
    }
    assert_eq!(service.dialogue(0).messages, [("defect".to_owned(), 4)].into());
    service.take(&message(1, DISCOVER));
    service.take(&message(0, DISCOVER));
    assert_eq!(notes.taken().iter().map(|(tap, _)| *tap).collect::<Vec<_>>(), [80, 70]);
}

#[test]
fn a_guest_with_ipv6_is_spoken_to_unasked_and_one_without_is_not() {
    let (notes, service) = Notes::service();
    let start = Instant::now();
    service.serve(0, served("7-eth0", 70, guest()));
    assert_eq!(service.advertise(start + INTERVAL), None, "nothing to do");
    service.serve(1, served("8-eth0", 80, routed(&["fe80::1", "fe80::2"])));
    assert_eq!(notes.taken(), [], "the guest may not even run");
    let spoken = pass(&service, start, start + 4 * INTERVAL);
    let times = spoken.len();
    // Three soon after the beginning, and then none of the waits is longer than the longest.
    assert!(spoken[2] < start + Duration::from_secs(40) && times >= 6, "{times}");
    assert!(spoken.windows(2).all(|pair| pair[1] - pair[0] <= INTERVAL));
    assert_eq!(count(&service, 1, "advertisement"), times as u64);
    let both = vec![("fe80::1".to_owned(), 3600), ("fe80::2".to_owned(), 0)];
    assert_eq!(notes.advertised(), vec![both; times].concat());
    service.stop(1);
    assert_eq!(service.advertise(start + 10 * INTERVAL), None);
}

#[test]
fn a_solicitation_is_answered_at_once_and_another_one_a_little_later() {
    let (notes, service) = Notes::service();
    service.serve(0, served("7-eth0", 70, routed(&["fe80::1"])));
    service.take(&solicitation(0));
    let now = Instant::now();
    assert_eq!(notes.advertised(), [("fe80::1".to_owned(), 3600)]);
    assert_eq!(service.dialogue(0).last, "router_solicitation -> advertisement");
    service.take(&solicitation(0));
    assert_eq!(count(&service, 0, "router_solicitation put off"), 1);
    assert_eq!(notes.taken(), []);
    assert_eq!(pass(&service, now, now + 3 * SECOND).len(), 1);
    assert_eq!(notes.advertised().len(), 1);
}

#[test]
fn what_routers_say_no_more_is_taken_back_at_once() {
    let (notes, service) = Notes::service();
    let said = |router: &str, lifetime| (router.to_owned(), lifetime);
    service.serve(0, served("7-eth0", 70, routed(&["fe80::1"])));
    service.take(&solicitation(0));
    notes.taken();

    // Another gateway: the old one goes before the new one comes.
    service.serve(0, served("7-eth0", 70, routed(&["fe80::2"])));
    assert_eq!(notes.advertised(), [said("fe80::1", 0), said("fe80::2", 3600)]);
    // The same again: nothing is new.
    service.serve(0, served("7-eth0", 70, routed(&["fe80::2"])));
    assert_eq!(notes.advertised(), []);
    // No IPv6 any more: a last word, and silence.
    service.serve(0, served("7-eth0", 70, guest()));
    assert_eq!(notes.advertised(), [said("fe80::2", 0)]);
    let now = Instant::now();
    assert_eq!(pass(&service, now, now + 10 * INTERVAL), []);
    // It comes back.
    service.serve(0, served("7-eth0", 70, routed(&["fe80::2"])));
    assert!(pass(&service, now, now + 2 * SECOND).len() == 1);
    assert_eq!(notes.advertised(), [said("fe80::2", 3600)]);
}

#[test]
fn a_router_of_before_the_agent_is_taken_back_once() {
    let (notes, service) = Notes::service();
    let said = |router: &str, lifetime| (router.to_owned(), lifetime);
    let of_before = |gone: &[&str], guest| Served {
        gone: gone.iter().map(|router| router.parse().unwrap()).collect(),
        ..served("7-eth0", 70, guest)
    };
    service.serve(0, of_before(&["fe80::9"], routed(&["fe80::1"])));
    assert_eq!(notes.advertised(), [said("fe80::9", 0), said("fe80::1", 3600)]);
    // Of a port that is served already more is known.
    service.serve(0, of_before(&["fe80::8"], routed(&["fe80::1"])));
    assert_eq!(notes.advertised(), []);
    // A pod that lost its IPv6 meanwhile.
    service.serve(1, Served { tap_ifindex: 80, ..of_before(&["fe80::9"], guest()) });
    assert_eq!(notes.advertised(), [said("fe80::9", 0)]);
}

#[test]
fn what_is_only_new_is_said_as_soon_as_may_be() {
    let (notes, service) = Notes::service();
    let now = Instant::now();
    service.serve(0, served("7-eth0", 70, routed(&["fe80::1"])));
    assert_eq!(pass(&service, now, now + SECOND).len(), 1);
    notes.taken();
    let mut more = routed(&["fe80::1"]);
    more.dns.servers.push("fd00::53".parse().unwrap());
    service.serve(0, served("7-eth0", 70, more));
    // Three seconds lie between two (RFC 4861, section 6.2.4).
    let spoken = pass(&service, now, now + 4 * SECOND);
    assert!(spoken.len() == 1, "{spoken:?}");
    let words = notes.taken();
    assert_eq!(words.len(), 1);
    assert!(words[0].1.windows(2).any(|pair| pair == [0x00, 0x53]), "{words:?}");
}

#[test]
fn who_tends_sleeps_until_there_is_something_to_say() {
    let (notes, service) = Notes::service();
    let service = Arc::new(service);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let wait = async |said: &str, count: u64| {
        // Half a second at most for the first (`MAX_RA_DELAY_TIME`), three between two.
        let spoken = tokio::time::timeout(Duration::from_secs(10), async {
            while self::count(&service, 0, said) < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        spoken.await.unwrap();
    };
    runtime.block_on(async {
        let tended = Arc::clone(&service);
        let task = tokio::spawn(async move { tended.tend().await });
        tokio::task::yield_now().await;
        // It sleeps without an end when this comes.
        service.serve(0, served("7-eth0", 70, routed(&["fe80::1"])));
        wait("advertisement", 1).await;
        // It sleeps for a quarter of a minute or more when this comes, but it has just spoken.
        service.take(&solicitation(0));
        assert_eq!(count(&service, 0, "router_solicitation put off"), 1);
        wait("advertisement", 2).await;
        task.abort();
    });
    assert_eq!(notes.taken().len(), 2);
}

#[test]
fn answers_that_do_not_get_there_are_counted() {
    let service = Service::new(LEASE);
    service.serve(0, served("7-eth0", 1, guest()));
    service.take(&message(0, DISCOVER));
    // The namespace is not there: the thread that enters it says so.
    let started = Instant::now();
    while count(&service, 0, "answer lost") < 1 {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", service.dialogue(0));
        std::thread::yield_now();
    }
    assert_eq!(count(&service, 0, "discover -> offer"), 1);
}

#[test]
fn what_nobody_asked_for_is_no_answer_that_is_lost() {
    let service = Service::new(LEASE);
    let mut dual = routed(&["fe80::1"]);
    dual.addresses.extend(guest().addresses);
    service.serve(0, served("7-eth0", 1, dual));
    assert!(service.advertise(Instant::now() + SECOND).is_some());
    // Both go the same way, in this order.
    service.take(&message(0, DISCOVER));
    assert_eq!(count(&service, 0, "advertisement"), 1);
    let started = Instant::now();
    while count(&service, 0, "answer lost") < 1 {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", service.dialogue(0));
        std::thread::yield_now();
    }
    assert_eq!(count(&service, 0, "answer lost"), 1);
}
