// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which link-local addresses a pod's IPv6 gateways have: asked on the pod link, and remembered between passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv6Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netagent_common::maps;
use tracing::warn;

use super::{observe::Inside, ports::chain};
use crate::{
    core::{
        guest::{global_gateways, recall},
        ids::MacAddr,
        pod::PodFacts,
        router_search::{Asker, RouterSearch},
    },
    sys::{
        neighbour_socket::NeighbourSocket,
        netns::{Netns, NetnsError},
    },
};

/// Waits after each question. A gateway on the node answers in less than a millisecond; a port whose gateway never answers
/// is held up by all of them.
const ASK: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(30), Duration::from_millis(60)];
/// When a gateway that did not answer is asked for again, at first and at most; it doubles in between. A link-local address
/// that was just made answers nobody for a second or two, until it is known to be nobody else's (RFC 4862, section 5.4).
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// When one that answered is asked for again: its address may have changed.
const CHECK: Duration = Duration::from_secs(300);

/// What was found for one port.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownRouters(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The device by which was asked, and its MAC.
    link: Option<(u32, MacAddr)>,
    /// Who was asked for.
    gateways: BTreeSet<Ipv6Addr>,
    found: BTreeMap<Ipv6Addr, Ipv6Addr>,
    /// Searches since the last one that left nobody out.
    failures: u32,
    /// When to ask again; at once when there is none.
    due: Option<Instant>,
    /// Whether what an earlier agent found was looked at.
    recalled: bool,
}

/// The pod link could not be asked.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("ask for routers by link {ifindex}")]
    Socket {
        ifindex: u32,
        #[source]
        source: io::Error,
    },
}

impl KnownRouters {
    /// Finds the routers of a pod, by asking when the pod is another one than before, or it is time. That nobody can be asked
    /// is no reason not to wire the port: its warnings say who is missing.
    pub(super) async fn find(&self, inside: &Inside, facts: &mut PodFacts) {
        let asker = asker(facts);
        let gateways = global_gateways(facts);
        let question = self.known().question(asker, gateways, Instant::now());
        if let Some(((ifindex, asker), gateways)) = question {
            let search = RouterSearch::new(asker, &gateways);
            let found = match ask(&inside.netns, ifindex, search).await {
                Ok(found) => found,
                Err(error) => {
                    warn!(pod_link = %facts.link.ifname, error = chain(error), "no router could be asked for");
                    BTreeMap::new()
                }
            };
            self.known().answer(found, Instant::now());
        }
        facts.routers = self.known().found.clone();
    }

    /// Takes over what an earlier agent wrote into the port's entry, once: where frames reach the guest by XDP, a socket
    /// on the pod link does not see the answers.
    pub(super) fn recall(&self, facts: &mut PodFacts, entry: &maps::Port) {
        let mut known = self.known();
        if !std::mem::replace(&mut known.recalled, true) {
            recall(facts, entry);
            known.found.clone_from(&facts.routers);
        }
    }

    /// When to look at the port because a router is missing.
    pub(super) fn missing_due(&self) -> Option<Instant> {
        let known = self.known();
        known.due.filter(|_| known.is_missing())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing is left half done while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What to ask now, if anything.
    fn question(
        &mut self,
        asker: Option<(u32, Asker)>,
        gateways: BTreeSet<Ipv6Addr>,
        now: Instant,
    ) -> Option<((u32, Asker), BTreeSet<Ipv6Addr>)> {
        let link = asker.map(|(ifindex, asker)| (ifindex, asker.mac));
        if self.link != link {
            self.found.clear();
        }
        // Which of its addresses the pod asks with makes no difference.
        if self.link != link || self.gateways != gateways {
            self.found.retain(|gateway, _| gateways.contains(gateway));
            (self.failures, self.due) = (0, None);
            (self.link, self.gateways) = (link, gateways);
        }
        let due = !self.gateways.is_empty() && self.due.is_none_or(|due| due <= now);
        asker.filter(|_| due).map(|asker| (asker, self.gateways.clone()))
    }

    /// Takes the answers in. One that is missing this time, and answered before, is still what it was.
    fn answer(&mut self, found: BTreeMap<Ipv6Addr, Ipv6Addr>, now: Instant) {
        self.found.extend(found);
        let wait = if self.is_missing() {
            let wait = AGAIN.0.saturating_mul(1 << self.failures.min(16)).min(AGAIN.1);
            self.failures = self.failures.saturating_add(1);
            wait
        } else {
            self.failures = 0;
            CHECK
        };
        self.due = Some(now + wait);
    }

    fn is_missing(&self) -> bool {
        self.gateways.iter().any(|gateway| !self.found.contains_key(gateway))
    }
}

/// The pod as its neighbours know it; `None` for one that is not on an Ethernet, down or without an IPv6 address.
fn asker(facts: &PodFacts) -> Option<(u32, Asker)> {
    let address =
        facts.addresses.iter().find_map(|a| if let IpNet::V6(a) = a { Some(a.addr()) } else { None });
    let mac = facts.link.mac.filter(|_| facts.link.up)?;
    Some((facts.link.ifindex, Asker { mac, address: address? }))
}

async fn ask(
    netns: &Netns,
    ifindex: u32,
    mut search: RouterSearch,
) -> Result<BTreeMap<Ipv6Addr, Ipv6Addr>, SearchError> {
    let searched = netns.run(move || ask_here(ifindex, &mut search).map(|()| search.found())).await?;
    searched.map_err(|source| SearchError::Socket { ifindex, source })
}

/// Asks all at once, as often as there are waits, and on at once when an answer leads further.
fn ask_here(ifindex: u32, search: &mut RouterSearch) -> io::Result<()> {
    let socket = NeighbourSocket::open(ifindex)?;
    for wait in ASK {
        let until = Instant::now() + wait;
        let mut ask = true;
        while !search.is_done() {
            if std::mem::take(&mut ask) {
                search.frames().iter().try_for_each(|frame| socket.send(frame))?;
            }
            match socket.receive(until)? {
                Some(frame) => ask = search.hear(&frame),
                None => break,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn link(last: u8) -> Option<(u32, Asker)> {
        Some((2, Asker { mac: MacAddr([2, 0, 0, 0, 0, last]), address: ip("fd00::5") }))
    }

    fn gateways(of: &[&str]) -> BTreeSet<Ipv6Addr> {
        of.iter().map(|g| ip(g)).collect()
    }

    fn found(of: &[(&str, &str)]) -> BTreeMap<Ipv6Addr, Ipv6Addr> {
        of.iter().map(|(g, r)| (ip(g), ip(r))).collect()
    }

    #[test]
    fn who_answered_is_left_alone_for_a_while() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.question(link(1), gateways(&["fd00::1"]), now).is_some());
        known.answer(found(&[("fd00::1", "fe80::1")]), now);
        assert!(known.question(link(1), gateways(&["fd00::1"]), now + CHECK / 2).is_none());
        assert!(known.question(link(1), gateways(&["fd00::1"]), now + CHECK).is_some());
        // Silence takes nothing away, another answer counts.
        known.answer(BTreeMap::new(), now + CHECK);
        assert_eq!(known.found, found(&[("fd00::1", "fe80::1")]));
        known.answer(found(&[("fd00::1", "fe80::2")]), now + CHECK);
        assert_eq!(known.found, found(&[("fd00::1", "fe80::2")]));
    }

    #[test]
    fn who_is_silent_is_asked_again_less_and_less_often() {
        let (mut known, mut now) = (Known::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(known.question(link(1), gateways(&["fd00::1"]), now).is_some());
            known.answer(BTreeMap::new(), now);
            let wait = Duration::from_secs(seconds);
            assert_eq!(known.due, Some(now + wait));
            assert!(known.question(link(1), gateways(&["fd00::1"]), now + wait / 2).is_none());
            now += wait;
        }
    }

    #[test]
    fn another_set_of_gateways_is_asked_for_at_once_and_another_link_forgets_all() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.question(link(1), gateways(&["fd00::1", "fd00::2"]), now).is_some());
        known.answer(found(&[("fd00::1", "fe80::1"), ("fd00::2", "fe80::2")]), now);
        assert!(known.question(link(1), gateways(&["fd00::1", "fd00::3"]), now).is_some());
        assert_eq!(known.found, found(&[("fd00::1", "fe80::1")]));
        assert!(known.question(link(2), gateways(&["fd00::1", "fd00::3"]), now).is_some());
        assert_eq!(known.found, BTreeMap::new());
    }

    #[test]
    fn without_gateways_or_an_address_nobody_is_asked() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.question(link(1), BTreeSet::new(), now).is_none());
        assert!(known.question(None, gateways(&["fd00::1"]), now).is_none());
        assert!(!known.is_missing() || known.due.is_none());
    }
}
