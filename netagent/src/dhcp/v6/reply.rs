// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server's message: which options it carries, and which give way when it grows too long for the link.

use std::net::Ipv6Addr;

use super::{
    frame::IP_UDP_LEN,
    lease::Lease,
    message::{Association, Kind, Request},
    options::{self, Writer},
    outcome::{MessageType, Status},
};
use crate::dhcp::names;

/// Every IPv6 link carries packets of this length (RFC 8200, section 5).
const MIN_MTU: u16 = 1280;
/// Type and transaction.
const HEAD_LEN: usize = 4;
/// Option 7 of a server whose advertisement a client takes at once, without waiting for others (RFC 8415, 18.2.1): there
/// is no other on a guest's link.
const HIGHEST_PREFERENCE: u8 = 255;
/// The least that option 32 may say, in seconds (RFC 8415, 21.23).
const MIN_REFRESH_TIME: u32 = 600;
/// Suboptions of option 56 (RFC 5908, section 4).
const NTP_SERVER_ADDRESS: u16 = 1;
const NTP_MULTICAST_ADDRESS: u16 = 2;

/// What a client gets that sends no list.
const BY_DEFAULT: [u16; 2] = [options::DNS_SERVERS, options::DOMAIN_SEARCH];

/// What a reply says, not yet written.
#[derive(Debug)]
pub(super) struct Contents {
    /// What became of the whole message, where RFC 8415, 18.3 wants that said.
    pub(super) status: Option<Status>,
    /// Associations, the most important first.
    pub(super) associations: Vec<Answered>,
    /// Whether name servers and the like are told.
    pub(super) parameters: bool,
}

/// What became of one association.
#[derive(Debug)]
pub(super) struct Answered {
    kind: Kind,
    iaid: [u8; 4],
    /// The pod's addresses with, beside them, these that the client must no longer use; or why there are none.
    bound: Result<Vec<Ipv6Addr>, Status>,
}

impl Contents {
    /// A reply that says only this.
    pub(super) fn of_status(status: Status) -> Self {
        Self { status: Some(status), associations: Vec::new(), parameters: false }
    }

    /// See [`Reply::status`](super::Reply::status).
    pub(super) fn outcome(&self) -> Status {
        let of_first = || self.associations.first().and_then(|first| first.bound.as_ref().err().copied());
        self.status.or_else(of_first).unwrap_or(Status::Success)
    }
}

impl Answered {
    /// An association with what became of it.
    pub(super) fn of(association: &Association, bound: Result<Vec<Ipv6Addr>, Status>) -> Self {
        Self { kind: association.kind, iaid: association.iaid, bound }
    }
}

/// The message, and codes of the options that did not fit. Options get their place by importance: who is meant, what
/// became of the message, associations, and then what a guest could do without.
pub(super) fn write(
    lease: &Lease,
    request: &Request<'_>,
    message: MessageType,
    contents: &Contents,
) -> (Vec<u8>, Vec<u16>) {
    let [a, b, c] = request.xid;
    let space = usize::from(lease.mtu.max(MIN_MTU)).saturating_sub(IP_UDP_LEN).saturating_sub(HEAD_LEN);
    let mut out = Writer::new(vec![message.code(), a, b, c], space);
    if let Some(id) = request.client_id {
        out.put(options::CLIENT_ID, id);
    }
    out.put(options::SERVER_ID, &lease.server_id());
    if message == MessageType::Advertise {
        out.put(options::PREFERENCE, &[HIGHEST_PREFERENCE]);
    }
    if request.message_type == MessageType::Solicit && message == MessageType::Reply {
        out.put(options::RAPID_COMMIT, &[]);
    }
    if let Some(status) = contents.status {
        out.put(options::STATUS_CODE, &status_value(status));
    }
    for association in &contents.associations {
        put_association(&mut out, lease, association);
    }
    if contents.parameters {
        put_parameters(&mut out, lease, request);
    }
    out.finish()
}

fn put_association(out: &mut Writer, lease: &Lease, association: &Answered) {
    let mut head = association.iaid.to_vec();
    let (t1, t2) = if association.bound.is_ok() { lease.times() } else { (0, 0) };
    if association.kind.has_times() {
        head.extend(t1.to_be_bytes());
        head.extend(t2.to_be_bytes());
    }
    let (value, left_out) = match &association.bound {
        Ok(foreign) => {
            let space = out.space().saturating_sub(head.len());
            let mut inner = Writer::new(head, space);
            for address in &lease.addresses {
                inner.put(options::IA_ADDRESS, &address_value(*address, lease.lifetime()));
            }
            for address in foreign {
                inner.put(options::IA_ADDRESS, &address_value(*address, 0));
            }
            inner.finish()
        }
        // Whole or not at all: without its status it would say something else.
        Err(status) => {
            let mut inner = Writer::new(head, usize::MAX);
            inner.put(options::STATUS_CODE, &status_value(*status));
            inner.finish()
        }
    };
    out.put(association.kind.code(), &value);
    left_out.into_iter().for_each(|code| out.leave_out(code));
}

/// Address and both lifetimes (RFC 8415, 21.6).
fn address_value(address: Ipv6Addr, lifetime: u32) -> Vec<u8> {
    [&address.octets()[..], &lifetime.to_be_bytes(), &lifetime.to_be_bytes()].concat()
}

/// Code and a text for people (RFC 8415, 21.13).
fn status_value(status: Status) -> Vec<u8> {
    let text = match status {
        Status::Success => "",
        Status::NoAddrsAvail => "one IA_NA holds all addresses",
        Status::NoBinding => "no such association",
        Status::NotOnLink => "not this port's address",
        Status::UseMulticast => "send to ff02::1:2",
        Status::NoPrefixAvail => "no prefixes",
    };
    [&status.code().to_be_bytes(), text.as_bytes()].concat()
}

/// What the client asks for, the most important first.
fn put_parameters(out: &mut Writer, lease: &Lease, request: &Request<'_>) {
    let asked = request.requested.as_deref().unwrap_or(&BY_DEFAULT);
    if request.message_type == MessageType::InformationRequest {
        let seconds = lease.lifetime().max(MIN_REFRESH_TIME);
        out.put(options::INFORMATION_REFRESH_TIME, &seconds.to_be_bytes());
    }
    let mut put = |code: u16, value: &[u8]| {
        if asked.contains(&code) && !value.is_empty() {
            out.put(code, value);
        }
    };
    put(options::DNS_SERVERS, &lease.dns.iter().flat_map(Ipv6Addr::octets).collect::<Vec<_>>());
    put(options::DOMAIN_SEARCH, &names::encode_whole(&names::search(&lease.search)));
    // One server in each (RFC 5908, section 4).
    lease.ntp.iter().for_each(|server| put(options::NTP_SERVER, &ntp_value(*server)));
}

/// The suboption that fits the address.
fn ntp_value(server: Ipv6Addr) -> Vec<u8> {
    let suboption = if server.is_multicast() { NTP_MULTICAST_ADDRESS } else { NTP_SERVER_ADDRESS };
    [&suboption.to_be_bytes()[..], &16u16.to_be_bytes(), &server.octets()].concat()
}
