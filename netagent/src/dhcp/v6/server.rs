// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which messages are heard (RFC 8415, section 16), and what they are answered with (18.3).

use std::net::Ipv6Addr;

use super::{
    frame,
    lease::Lease,
    message::{Association, Kind, Request},
    outcome::{Event, MessageType, Outcome, Reply, Silence, Status},
    reply::{self, Answered, Contents},
};

/// All_DHCP_Relay_Agents_and_Servers (RFC 8415, 7.1).
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Answers a whole Ethernet frame as it left the guest, without vnet header and frame check sequence.
///
/// Takes any bytes; the time is linear in their number times that of the pod's addresses, and the reply's size is
/// bounded by the lease's MTU (but not below 1280 bytes).
pub fn answer(lease: &Lease, frame: &[u8]) -> Outcome {
    match decide(lease, frame) {
        Ok(reply) => Outcome::Reply(reply),
        Err(silence) => Outcome::Silent(silence),
    }
}

fn decide(lease: &Lease, frame: &[u8]) -> Result<Reply, Silence> {
    let datagram = frame::parse(frame)?;
    if datagram.sender != lease.client {
        return Err(Silence::OtherClient);
    }
    let by_multicast = datagram.destination == ALL_SERVERS;
    if !by_multicast && datagram.destination != lease.server_address {
        return Err(Silence::OtherDestination);
    }
    if !datagram.source.is_unicast_link_local() {
        return Err(Silence::OtherSource);
    }
    let request = Request::parse(datagram.payload)?;
    admit(lease, &request, by_multicast)?;

    // Those that must not come by unicast are not admitted.
    let contents =
        if by_multicast { contents(lease, &request)? } else { Contents::of_status(Status::UseMulticast) };
    let message = if request.message_type == MessageType::Solicit && !request.rapid_commit {
        MessageType::Advertise
    } else {
        MessageType::Reply
    };
    let (bytes, left_out) = reply::write(lease, &request, message, &contents);
    let source = (lease.server_mac, lease.server_address);
    let frame = frame::build(source, (lease.client, datagram.source), &bytes)?;
    Ok(Reply {
        to: request.message_type,
        message,
        status: contents.outcome(),
        event: event(request.message_type).filter(|_| by_multicast),
        asked: request.addresses().find(|a| !is_own(lease, *a)).or_else(|| request.addresses().next()),
        frame,
        left_out,
    })
}

/// RFC 8415, section 16: which messages a server must discard.
fn admit(lease: &Lease, request: &Request<'_>, by_multicast: bool) -> Result<(), Silence> {
    let for_this_server = request.server_id.map(|id| id == lease.server_id());
    let for_any_server = match request.message_type {
        MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => {
            if for_this_server.is_some() {
                return Err(Silence::UnexpectedServerId);
            }
            true
        }
        MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => {
            if for_this_server.is_none() {
                return Err(Silence::NoServerId);
            }
            false
        }
        MessageType::InformationRequest => {
            if !request.associations.is_empty() {
                return Err(Silence::UnexpectedAssociation);
            }
            true
        }
        MessageType::Advertise | MessageType::Reply => return Err(Silence::UnexpectedType),
    };
    if for_this_server == Some(false) {
        return Err(Silence::OtherServer);
    }
    // Who asks for parameters alone need not say who it is.
    if request.client_id.is_none() && request.message_type != MessageType::InformationRequest {
        return Err(Silence::NoClientId);
    }
    if for_any_server && !by_multicast { Err(Silence::Unicast) } else { Ok(()) }
}

/// RFC 8415, 18.3.2 to 18.3.8.
fn contents(lease: &Lease, request: &Request<'_>) -> Result<Contents, Silence> {
    let status = match request.message_type {
        MessageType::Confirm => {
            request.addresses().next().ok_or(Silence::NoAddress)?;
            let all_own = request.addresses().all(|address| is_own(lease, address));
            return Ok(Contents::of_status(if all_own { Status::Success } else { Status::NotOnLink }));
        }
        MessageType::Release | MessageType::Decline => Some(Status::Success),
        _ => None,
    };
    let mut answered = Vec::with_capacity(request.associations.len());
    let mut first = None;
    for association in &request.associations {
        if association.kind == Kind::Addresses && first.is_none() {
            first = Some(association);
            continue;
        }
        answered.push(Answered::of(association, Err(further(request.message_type, association.kind))));
    }
    if let Some(first) = first.filter(|_| status.is_none()) {
        // In front: it is what must fit.
        answered.insert(0, Answered::of(first, bind(lease, request.message_type, first)));
    }
    Ok(Contents { status, associations: answered, parameters: status.is_none() })
}

/// What the first IA_NA gets: all of the pod's addresses, and beside them those that it must no longer use.
fn bind(lease: &Lease, message: MessageType, association: &Association) -> Result<Vec<Ipv6Addr>, Status> {
    if lease.addresses.is_empty() {
        return Err(Status::NoAddrsAvail);
    }
    let foreign: Vec<_> = association.addresses.iter().copied().filter(|a| !is_own(lease, *a)).collect();
    match message {
        // On the guest's link there is no other host, so no other address fits it (RFC 8415, 18.3.2).
        MessageType::Request if !foreign.is_empty() => Err(Status::NotOnLink),
        MessageType::Renew | MessageType::Rebind => Ok(foreign),
        // In a solicit they are hints.
        _ => Ok(Vec::new()),
    }
}

/// What an association gets that is not the first IA_NA.
fn further(message: MessageType, kind: Kind) -> Status {
    match kind {
        _ if event(message).is_some() => Status::NoBinding,
        Kind::Addresses | Kind::TemporaryAddresses => Status::NoAddrsAvail,
        Kind::Prefixes => Status::NoPrefixAvail,
    }
}

fn event(message: MessageType) -> Option<Event> {
    match message {
        MessageType::Decline => Some(Event::Declined),
        MessageType::Release => Some(Event::Released),
        _ => None,
    }
}

fn is_own(lease: &Lease, address: Ipv6Addr) -> bool {
    lease.addresses.contains(&address)
}
