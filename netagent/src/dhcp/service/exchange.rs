// SPDX-License-Identifier: MIT OR Apache-2.0
//! One frame of a guest and what comes of it, for each protocol. Nothing here has an effect.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use netagent_common::maps::{PuntKind, TAGGED};

use super::Punt;
use crate::{
    core::guest::Guest,
    dhcp::{
        UnusableName, lease, path_mtu, ra,
        v4::{self, Event},
        v6::{self, Status},
    },
};

/// A frame that makes the servers panic, in tests.
#[cfg(test)]
pub(super) const POISON: &[u8] = b"poison";

/// What a guest is told, as each server wants it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) v4: Option<v4::Lease>,
    v6: Option<v6::Lease>,
    pub(super) adverts: Vec<ra::Advert>,
}

/// What came of one frame.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Its name in the counters. There are few, whatever a guest sends.
    pub(super) said: Cow<'static, str>,
    /// The address that the guest asked for, declined or gave back.
    pub(super) address: Option<IpAddr>,
    /// Options that did not fit.
    pub(super) left_out: Vec<u16>,
    /// The answer.
    pub(super) frames: Vec<Vec<u8>>,
    /// Whether people want to know.
    pub(super) notable: bool,
    /// Whether it is an answer to what the guest asked.
    pub(super) answered: bool,
}

impl Told {
    pub(super) fn new(guest: &Guest, lease_time: Duration) -> Self {
        Self {
            v4: lease::v4(guest, lease_time),
            v6: lease::v6(guest, lease_time),
            adverts: lease::ra(guest, lease_time),
        }
    }

    /// The pod's names that the guest is not given.
    pub(super) fn unusable_names(&self) -> Vec<UnusableName> {
        // The other servers tell some of the names that DHCPv4 tells, by the same rules.
        let names = self.v4.as_ref().map(v4::Lease::unusable_names);
        names.or_else(|| self.v6.as_ref().map(v6::Lease::unusable_names)).unwrap_or_default()
    }

    /// Answers a frame of the guest.
    pub(super) fn answer(&self, guest: &Guest, punt: &Punt) -> Exchange {
        #[cfg(test)]
        assert!(!punt.frame.starts_with(POISON), "the test's own panic");
        match punt.kind {
            PuntKind::Dhcpv4 => dhcpv4(self.v4.as_ref(), &punt.frame),
            PuntKind::Dhcpv6 => dhcpv6(self.v6.as_ref(), &punt.frame),
            PuntKind::RouterSolicitation => router_solicitation(&self.adverts, &punt.frame),
            PuntKind::TooBig => too_big(guest, &punt.frame, punt.tag),
        }
    }
}

impl Exchange {
    /// A frame that is not answered, by its name in the counters.
    pub(super) fn unserved(said: impl Into<Cow<'static, str>>) -> Self {
        Self { said: said.into(), ..Self::default() }
    }
}

fn dhcpv4(lease: Option<&v4::Lease>, frame: &[u8]) -> Exchange {
    let Some(lease) = lease else { return Exchange::unserved("dhcpv4 without lease") };
    match v4::answer(lease, frame) {
        v4::Outcome::Reply(reply) => Exchange {
            said: format!("{} -> {}", reply.to.as_str(), reply.message.as_str()).into(),
            address: reply.asked.map(IpAddr::V4),
            left_out: reply.left_out.into_iter().map(u16::from).collect(),
            frames: vec![reply.frame],
            notable: true,
            answered: true,
        },
        v4::Outcome::Event(event) => Exchange {
            said: event.as_str().into(),
            address: match event {
                Event::Declined { address } => address.map(IpAddr::V4),
                Event::Released { address } => Some(IpAddr::V4(address)),
            },
            notable: true,
            ..Exchange::default()
        },
        v4::Outcome::Silent(silence) => Exchange::unserved(format!("silent {}", silence.as_str())),
    }
}

fn dhcpv6(lease: Option<&v6::Lease>, frame: &[u8]) -> Exchange {
    let Some(lease) = lease else { return Exchange::unserved("dhcpv6 without lease") };
    match v6::answer(lease, frame) {
        v6::Outcome::Reply(reply) => {
            let (to, message) = (reply.to.as_str(), reply.message.as_str());
            let said = match reply.status {
                Status::Success => format!("{to} -> {message}"),
                refused => format!("{to} -> {message} {}", refused.as_str()),
            };
            Exchange {
                said: said.into(),
                address: reply.asked.map(IpAddr::V6),
                left_out: reply.left_out,
                frames: vec![reply.frame],
                notable: true,
                answered: true,
            }
        }
        v6::Outcome::Silent(silence) => Exchange::unserved(format!("dhcpv6 silent {}", silence.as_str())),
    }
}

fn router_solicitation(adverts: &[ra::Advert], frame: &[u8]) -> Exchange {
    match ra::answer(adverts, frame) {
        ra::Outcome::Advertise(all) => Exchange {
            said: "router_solicitation -> advertisement".into(),
            left_out: all.iter().flat_map(|one| &one.left_out).map(|code| u16::from(*code)).collect(),
            frames: all.into_iter().map(|one| one.frame).collect(),
            notable: true,
            answered: true,
            address: None,
        },
        ra::Outcome::Silent(silence) => {
            Exchange::unserved(format!("router_solicitation silent {}", silence.as_str()))
        }
    }
}

/// Tells the guest the MTU. Not worth a line in the log: a guest that ignores its lease's MTU causes one per path.
fn too_big(guest: &Guest, frame: &[u8], tag: u32) -> Exchange {
    let gateways: Vec<IpAddr> = guest.routes.iter().rev().filter_map(|route| route.gateway).collect();
    match path_mtu::answer(frame, guest.mtu, &gateways) {
        Ok(mut reply) => {
            if tag & TAGGED != 0 {
                path_mtu::put_tag(&mut reply, tag as u16);
            }
            Exchange { said: "too_big -> mtu".into(), frames: vec![reply], ..Exchange::default() }
        }
        Err(silence) => Exchange::unserved(format!("too_big silent {}", silence.as_str())),
    }
}
