// SPDX-License-Identifier: MIT OR Apache-2.0
//! The search for the link-local addresses of gateways that the pod knows by global ones, without a socket: which frames
//! to send, and what follows from those that come.
//!
//! A router advertisement makes a default route to the link-local address that it comes from, and the guest asks that
//! address for its MAC for as long as it lives: it must be one for which the router itself answers. So it is asked for
//! first, and only one that answers, with the gateway's own MAC, is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{
    ids::MacAddr,
    neighbour::{self, Heard, link_local},
};

/// Who asks: the pod, as its neighbours know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The pod link's MAC.
    pub mac: MacAddr,
    /// A global address of the pod.
    pub address: Ipv6Addr,
}

/// One search for all gateways of a pod.
#[derive(Clone, Debug)]
pub struct RouterSearch {
    asker: Asker,
    gateways: BTreeMap<Ipv6Addr, Progress>,
}

/// What is known of one gateway.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// The gateway answered, by this MAC.
    mac: Option<MacAddr>,
    /// How often the address that its MAC makes likely was asked for.
    asked: u32,
    /// It answered the call to all routers from this address.
    called_back: Option<Ipv6Addr>,
    /// This address of it answered.
    found: Option<Ipv6Addr>,
}

impl RouterSearch {
    /// A search for these gateways.
    pub fn new(asker: Asker, gateways: &BTreeSet<Ipv6Addr>) -> Self {
        let gateways = gateways.iter().map(|gateway| (*gateway, Progress::default())).collect();
        Self { asker, gateways }
    }

    /// What to ask now. A gateway is asked for its MAC, then for the link-local address that a station forms from it. One
    /// that has another (a bridge whose MAC changed since, an address set by hand or drawn at random) answers the call
    /// to all routers from it; it must know the caller's MAC by then, so it is asked once more, in the caller's name.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        let Asker { mac, address } = self.asker;
        let mut frames = Vec::new();
        for (gateway, progress) in self.gateways.iter_mut().filter(|(_, progress)| progress.found.is_none()) {
            let Some(gateway_mac) = progress.mac else {
                frames.push(neighbour::solicitation(mac, address, *gateway));
                continue;
            };
            let likely = link_local(gateway_mac);
            for candidate in [Some(likely), progress.called_back].into_iter().flatten() {
                frames.push(neighbour::solicitation(mac, address, candidate));
            }
            if progress.asked > 0 && progress.called_back.is_none() {
                let own = link_local(mac);
                frames.push(neighbour::solicitation(mac, own, *gateway));
                frames.push(neighbour::call_to_routers(mac, own));
            }
            progress.asked = progress.asked.saturating_add(1);
        }
        frames
    }

    /// Takes what was heard; `true` when there is something else to ask now.
    pub fn hear(&mut self, frame: &[u8]) -> bool {
        match neighbour::hear(frame) {
            Some(Heard::Neighbour { target, mac }) => self.neighbour(target, mac),
            Some(Heard::Echo { from, mac }) if from.is_unicast_link_local() => self.echo(from, mac),
            _ => false,
        }
    }

    fn neighbour(&mut self, target: Ipv6Addr, mac: MacAddr) -> bool {
        let mut progressed = false;
        for (gateway, progress) in self.gateways.iter_mut().filter(|(_, progress)| progress.found.is_none()) {
            match progress.mac {
                None if *gateway == target => {
                    progress.mac = Some(mac);
                    progressed = true;
                }
                Some(known)
                    if known == mac
                        && (target == link_local(mac) || progress.called_back == Some(target)) =>
                {
                    progress.found = Some(target);
                }
                _ => {}
            }
        }
        progressed
    }

    fn echo(&mut self, from: Ipv6Addr, mac: MacAddr) -> bool {
        let mut progressed = false;
        for progress in self.gateways.values_mut() {
            if progress.mac == Some(mac) && progress.called_back.is_none() {
                progress.called_back = Some(from);
                progressed = true;
            }
        }
        progressed
    }

    /// Whether there is nobody left to ask for.
    pub fn is_done(&self) -> bool {
        self.gateways.values().all(|progress| progress.found.is_some())
    }

    /// The gateways whose link-local address is found, with it.
    pub fn found(&self) -> BTreeMap<Ipv6Addr, Ipv6Addr> {
        self.gateways.iter().filter_map(|(gateway, p)| Some((*gateway, p.found?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::neighbour::tests::{ASKER, advertisement, echo_reply};

    const NODE: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn search(gateways: &[&str]) -> RouterSearch {
        let asker = Asker { mac: ASKER, address: ip("fd00::5") };
        RouterSearch::new(asker, &gateways.iter().map(|g| ip(g)).collect())
    }

    /// The link as it is: stations by MAC with the addresses that they answer for.
    fn answers(link: &[(MacAddr, &str)], frame: &[u8]) -> Vec<Vec<u8>> {
        let source = Ipv6Addr::from(*frame[22..].first_chunk::<16>().unwrap());
        match frame[54] {
            135 => {
                let target = Ipv6Addr::from(*frame[62..].first_chunk::<16>().unwrap());
                let owners = link.iter().filter(|(_, address)| ip(address) == target);
                owners.map(|(mac, _)| advertisement(*mac, target, Some(*mac))).collect()
            }
            128 => {
                assert!(source.is_unicast_link_local(), "its answer would come from a global address");
                let routers = link.iter().filter(|(_, a)| ip(a).is_unicast_link_local());
                routers.map(|(mac, address)| echo_reply(*mac, ip(address))).collect()
            }
            other => panic!("asks by {other}"),
        }
    }

    /// Asks in as many rounds as it takes, at most three.
    fn run(search: &mut RouterSearch, link: &[(MacAddr, &str)]) -> BTreeMap<Ipv6Addr, Ipv6Addr> {
        for _ in 0..3 {
            let mut ask = true;
            while std::mem::take(&mut ask) {
                for frame in search.frames() {
                    for answer in answers(link, &frame) {
                        ask |= search.hear(&answer);
                    }
                }
            }
            if search.is_done() {
                break;
            }
        }
        search.found()
    }

    #[test]
    fn a_router_with_the_address_of_its_mac_is_found() {
        let likely = link_local(NODE).to_string();
        let mut search = search(&["fd00::1"]);
        let found = run(&mut search, &[(NODE, "fd00::1"), (NODE, &likely)]);
        assert_eq!(found, BTreeMap::from([(ip("fd00::1"), link_local(NODE))]));
        assert!(search.is_done());
        assert_eq!(search.frames(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_router_with_another_address_calls_back_from_it() {
        let mut search = search(&["fd00::1"]);
        let other = MacAddr([2, 0, 0, 0, 0, 8]);
        let found = run(&mut search, &[(other, "fe80::8"), (NODE, "fd00::1"), (NODE, "fe80::abc")]);
        assert_eq!(found, BTreeMap::from([(ip("fd00::1"), ip("fe80::abc"))]));
    }

    #[test]
    fn all_gateways_are_asked_for_at_once() {
        let other = MacAddr([2, 0, 0, 0, 0, 8]);
        let mut search = search(&["fd00::1", "fd00::2", "fd00::3", "fd00::4"]);
        assert_eq!(search.frames().len(), 4);
        let (first, second) = (link_local(NODE).to_string(), link_local(other).to_string());
        let link =
            [(NODE, "fd00::1"), (NODE, "fd00::3"), (NODE, &first), (other, "fd00::2"), (other, &second)];
        let found = run(&mut search, &link);
        // Two are one router, and one is not there.
        assert_eq!(
            found,
            BTreeMap::from([
                (ip("fd00::1"), link_local(NODE)),
                (ip("fd00::2"), link_local(other)),
                (ip("fd00::3"), link_local(NODE)),
            ])
        );
        assert!(!search.is_done());
    }

    #[test]
    fn nobody_is_taken_who_has_not_the_gateway_s_mac() {
        let other = MacAddr([2, 0, 0, 0, 0, 8]);
        let likely = link_local(NODE).to_string();
        let mut search = search(&["fd00::1"]);
        // Another station has the address that the gateway's MAC makes likely, and calls back as well.
        let found = run(&mut search, &[(NODE, "fd00::1"), (other, &likely), (other, "fe80::8")]);
        assert_eq!(found, BTreeMap::new());
        // Nor does an answer count that nobody asked for.
        assert!(!search.hear(&advertisement(NODE, ip("fe80::abc"), Some(NODE))));
        assert_eq!(search.found(), BTreeMap::new());
    }

    #[test]
    fn a_silent_link_is_asked_the_same_again() {
        let mut search = search(&["fd00::1"]);
        assert_eq!(search.frames(), search.clone().frames());
        assert_eq!(run(&mut search, &[]), BTreeMap::new());
    }
}
