// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest's message is answered with (RFC 2131, 4.3), and to where (4.1).

use std::net::Ipv4Addr;

use super::{
    frame,
    lease::Lease,
    message::Request,
    outcome::{Event, MessageType, Outcome, Reply, Silence},
    reply,
};
use crate::core::ids::MacAddr;

const BROADCAST: (MacAddr, Ipv4Addr) = (MacAddr([0xff; 6]), Ipv4Addr::BROADCAST);

/// Answers a whole Ethernet frame as it left the guest, without vnet header and frame check sequence.
///
/// Takes any bytes; the time is linear in their number and the reply's size is bounded by the lease's MTU (but not
/// below 576 bytes) and the client's message size.
pub fn answer(lease: &Lease, frame: &[u8]) -> Outcome {
    decide(lease, frame).unwrap_or_else(Outcome::Silent)
}

fn decide(lease: &Lease, frame: &[u8]) -> Result<Outcome, Silence> {
    let datagram = frame::parse(frame)?;
    let request = Request::parse(datagram.payload)?;
    if request.chaddr != lease.client {
        return Err(Silence::OtherClient);
    }
    let to = request.message_type()?;
    // The guest has its lease from no other server: the one it renews with was this one, by the gateway that the pod had
    // when it was given.
    let ours = [Ipv4Addr::BROADCAST, lease.server_id].contains(&datagram.destination);
    if !ours && !renews(&request, to)? {
        return Err(Silence::OtherDestination);
    }
    match to {
        MessageType::Discover => answer_with(lease, &request, to, MessageType::Offer, None),
        MessageType::Request => {
            for_this_server(lease, &request)?;
            // SELECTING and INIT-REBOOT name the address in option 50, RENEWING and REBINDING in `ciaddr`. This
            // server is the only one the guest can have and knows its address: a wrong one gets a nak in any state.
            let asked = request.requested_address()?.or(held(&request)).ok_or(Silence::NoAddress)?;
            let right = asked == lease.address.addr();
            let message = if right { MessageType::Ack } else { MessageType::Nak };
            answer_with(lease, &request, to, message, Some(asked))
        }
        MessageType::Inform => answer_with(lease, &request, to, MessageType::Ack, held(&request)),
        MessageType::Decline => {
            for_this_server(lease, &request)?;
            Ok(Outcome::Event(Event::Declined { address: request.requested_address()? }))
        }
        MessageType::Release => {
            for_this_server(lease, &request)?;
            Ok(Outcome::Event(Event::Released { address: request.ciaddr }))
        }
        MessageType::Offer | MessageType::Ack | MessageType::Nak => Err(Silence::UnexpectedType),
    }
}

/// RENEWING (RFC 2131, table 4): the one state in which a message names a server by its destination alone.
fn renews(request: &Request<'_>, to: MessageType) -> Result<bool, Silence> {
    let names_neither = request.server_id()?.is_none() && request.requested_address()?.is_none();
    Ok(to == MessageType::Request && names_neither && held(request).is_some())
}

fn for_this_server(lease: &Lease, request: &Request<'_>) -> Result<(), Silence> {
    match request.server_id()? {
        Some(id) if id != lease.server_id => Err(Silence::OtherServer),
        _ => Ok(()),
    }
}

/// The address that the client says it has.
fn held(request: &Request<'_>) -> Option<Ipv4Addr> {
    Some(request.ciaddr).filter(|address| !address.is_unspecified())
}

fn answer_with(
    lease: &Lease,
    request: &Request<'_>,
    to: MessageType,
    message: MessageType,
    asked: Option<Ipv4Addr>,
) -> Result<Outcome, Silence> {
    // To an inform neither address nor lease times are told (RFC 2131, 4.3.5).
    let address = (to != MessageType::Inform).then(|| lease.address.addr());
    let reply = if message == MessageType::Nak {
        reply::refuse(lease, request)?
    } else {
        reply::grant(lease, request, message, address)?
    };
    let destination = destination(lease, request, to, message);
    let frame = frame::build((lease.server_mac, lease.server_id), destination, &reply.bytes)?;
    Ok(Outcome::Reply(Reply { to, message, asked, frame, left_out: reply.left_out }))
}

/// Where a reply goes (RFC 2131, 4.1).
fn destination(
    lease: &Lease,
    request: &Request<'_>,
    to: MessageType,
    message: MessageType,
) -> (MacAddr, Ipv4Addr) {
    if message == MessageType::Nak {
        // The client may hold an address that is not its own (RFC 2131, 4.3.2).
        return BROADCAST;
    }
    let own = lease.address.addr();
    match held(request) {
        Some(held) if held == own || (to == MessageType::Inform && is_host(held)) => (lease.client, held),
        _ if request.wants_broadcast() || to == MessageType::Inform => BROADCAST,
        _ => (lease.client, own),
    }
}

/// Whether one host can have this address.
fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast() && !address.is_loopback()
}
