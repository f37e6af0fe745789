// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server's BOOTP message: which options it carries, in which order, and which go first when it grows too long.

use std::net::Ipv4Addr;

use super::{
    frame::IP_UDP_LEN,
    lease::Lease,
    message::{COOKIE, FIXED_LEN, HLEN_ETHERNET, HTYPE_ETHERNET, MIN_MAX_MESSAGE_SIZE, OP_REPLY, Request},
    names,
    options::{self, put, put_len},
    outcome::{MessageType, Silence},
    routes,
};
use crate::core::hand_off::PRIVATE_CODES;

/// BOOTP's message length (RFC 951): some clients and relays drop shorter ones.
const MIN_LEN: usize = 300;
/// The lease time that never ends (RFC 2131, 3.3).
const INFINITE: u32 = u32::MAX;
/// Below it no link can carry IPv4 (RFC 2132, 5.1).
const MIN_MTU: u16 = 68;

/// Options that depend on what the client asks for, the most important first: that is the order in which they get
/// their place in the message. One that does not fit is left out whole, smaller ones after it may still fit.
/// Without the routes a guest reaches nothing; a wrong MTU loses packets; who names a boot file wants it booted; names
/// are convenience; the last repeats 121.
/// Options for private use come after all of these, in the order of their codes.
const BY_IMPORTANCE: [u8; 12] = [
    options::ROUTER,
    options::CLASSLESS_ROUTES,
    options::DNS_SERVERS,
    options::INTERFACE_MTU,
    options::BOOT_FILE,
    options::TFTP_SERVER,
    options::DOMAIN_SEARCH,
    options::DOMAIN_NAME,
    options::HOSTNAME,
    options::NTP_SERVERS,
    options::BROADCAST_ADDRESS,
    options::MS_CLASSLESS_ROUTES,
];
/// Of these, what clients get even if they do not ask for it.
const ALWAYS: [u8; 2] = [options::ROUTER, options::CLASSLESS_ROUTES];
/// Of these, what a client gets that sends no list.
const BY_DEFAULT: [u8; 11] = [
    options::ROUTER,
    options::DNS_SERVERS,
    options::HOSTNAME,
    options::DOMAIN_NAME,
    options::INTERFACE_MTU,
    options::BROADCAST_ADDRESS,
    options::NTP_SERVERS,
    options::TFTP_SERVER,
    options::BOOT_FILE,
    options::DOMAIN_SEARCH,
    options::CLASSLESS_ROUTES,
];

/// A server's BOOTP message.
pub(super) struct Message {
    /// From `op` to the padding.
    pub(super) bytes: Vec<u8>,
    /// Codes of the options that did not fit.
    pub(super) left_out: Vec<u8>,
}

/// An offer, or an acknowledgement of a request (with `address` and lease times) or of an inform (without).
pub(super) fn grant(
    lease: &Lease,
    request: &Request<'_>,
    message: MessageType,
    address: Option<Ipv4Addr>,
) -> Result<Message, Silence> {
    let mut options = head(lease, message);
    if address.is_some() {
        put_times(&mut options, lease);
    }
    // Before the router, as RFC 2132, 3.3 demands, whatever the client's order.
    put(&mut options, options::SUBNET_MASK, &lease.address.netmask().octets());
    let client_id = request.client_id()?.unwrap_or_default();

    let taken = options.len().saturating_add(put_len(options::CLIENT_ID, &client_id)).saturating_add(1);
    let chosen = choose(lease, request);
    let (kept, left_out) = fit(lease, &chosen, option_space(lease, request).saturating_sub(taken));
    for (code, value) in chosen.iter().filter(|(code, _)| kept.contains(code)) {
        put(&mut options, *code, value);
    }
    put(&mut options, options::CLIENT_ID, &client_id);

    // RFC 2131, table 3: an acknowledgement repeats the client's own address, an offer has none.
    let ciaddr = if message == MessageType::Ack { request.ciaddr } else { Ipv4Addr::UNSPECIFIED };
    let bytes = bootp(request, ciaddr, address.unwrap_or(Ipv4Addr::UNSPECIFIED), &Boot::of(lease), &options);
    Ok(Message { bytes, left_out })
}

/// A refusal: only what RFC 2131, table 3 allows in it.
pub(super) fn refuse(lease: &Lease, request: &Request<'_>) -> Result<Message, Silence> {
    let mut options = head(lease, MessageType::Nak);
    put(&mut options, options::MESSAGE, b"not this port's address");
    put(&mut options, options::CLIENT_ID, &request.client_id()?.unwrap_or_default());
    let none = Ipv4Addr::UNSPECIFIED;
    Ok(Message { bytes: bootp(request, none, none, &Boot::NONE, &options), left_out: Vec::new() })
}

fn head(lease: &Lease, message: MessageType) -> Vec<u8> {
    let mut options = Vec::with_capacity(MIN_LEN);
    put(&mut options, options::MESSAGE_TYPE, &[message.code()]);
    put(&mut options, options::SERVER_ID, &lease.server_id.octets());
    options
}

fn put_times(options: &mut Vec<u8>, lease: &Lease) {
    let seconds = u32::try_from(lease.lease_time.as_secs()).unwrap_or(INFINITE);
    put(options, options::LEASE_TIME, &seconds.to_be_bytes());
    if seconds != INFINITE {
        put(options, options::RENEWAL_TIME, &(seconds >> 1).to_be_bytes());
        put(options, options::REBINDING_TIME, &seconds.saturating_sub(seconds >> 3).to_be_bytes());
    }
}

/// Bytes for options, with the end option: what the client takes of what the link carries.
fn option_space(lease: &Lease, request: &Request<'_>) -> usize {
    // Every IPv4 host takes 576 bytes, whatever its link's MTU (RFC 791, 3.1).
    let datagram = request.max_message_size().min(lease.mtu.max(MIN_MAX_MESSAGE_SIZE));
    usize::from(datagram).saturating_sub(IP_UDP_LEN).saturating_sub(FIXED_LEN)
}

/// What the client is due, in the order of its list; what it cannot do without, but did not ask for, at the end.
fn choose(lease: &Lease, request: &Request<'_>) -> Vec<(u8, Vec<u8>)> {
    let asked = request.parameter_list();
    let mut chosen: Vec<(u8, Vec<u8>)> = Vec::with_capacity(BY_IMPORTANCE.len());
    let private = || private(lease).map(|(code, _)| code);
    for &code in asked.as_deref().unwrap_or(&BY_DEFAULT).iter().chain(&ALWAYS).chain(private()) {
        if chosen.iter().any(|(known, _)| *known == code) {
            continue;
        }
        let value = value(lease, code);
        if !value.is_empty() {
            chosen.push((code, value));
        }
    }
    chosen
}

/// Which options have a place in `space` bytes, and which have not.
fn fit(lease: &Lease, chosen: &[(u8, Vec<u8>)], mut space: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let private = || private(lease).map(|(code, _)| *code);
    // An operator's own option 249 has no more weight than his others.
    let ours = BY_IMPORTANCE.into_iter().filter(|code| private().all(|own| own != *code));
    for code in ours.chain(private()) {
        let Some((_, value)) = chosen.iter().find(|(known, _)| *known == code) else { continue };
        match space.checked_sub(put_len(code, value)) {
            Some(rest) => {
                space = rest;
                kept.push(code);
            }
            None => left_out.push(code),
        }
    }
    (kept, left_out)
}

/// An operator's options, in the order of their codes.
fn private(lease: &Lease) -> impl Iterator<Item = (&u8, &Vec<u8>)> {
    lease.private_options.range(PRIVATE_CODES)
}

/// The value of an option; empty when there is nothing to say, or when it is not for the client to ask for.
fn value(lease: &Lease, code: u8) -> Vec<u8> {
    if let Some((_, own)) = private(lease).find(|(own, _)| **own == code) {
        return own.clone();
    }
    let text = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
    match code {
        options::ROUTER => lease.gateway.iter().flat_map(Ipv4Addr::octets).collect(),
        options::DNS_SERVERS => lease.dns.iter().flat_map(Ipv4Addr::octets).collect(),
        options::HOSTNAME => text(names::hostname(lease)),
        options::DOMAIN_NAME => text(names::domain(lease)),
        options::INTERFACE_MTU if lease.mtu >= MIN_MTU => lease.mtu.to_be_bytes().to_vec(),
        // Prefixes of 31 and 32 bits have no broadcast address (RFC 3021, 2.2).
        options::BROADCAST_ADDRESS if lease.address.prefix_len() < 31 => {
            lease.address.broadcast().octets().to_vec()
        }
        options::NTP_SERVERS => lease.ntp.iter().flat_map(Ipv4Addr::octets).collect(),
        options::TFTP_SERVER => text(lease.tftp_server.as_deref()),
        options::BOOT_FILE => text(lease.boot_file.as_deref()),
        options::DOMAIN_SEARCH => names::encode_search(lease),
        options::CLASSLESS_ROUTES | options::MS_CLASSLESS_ROUTES => routes::encode(&routes::classless(lease)),
        _ => Vec::new(),
    }
}

/// BOOTP's own fields for what options 66 and 67 say. Firmware differs in which it reads: iPXE finds its server in
/// `siaddr` alone, and what knows no options (RFC 951) its file in `file`. The fields are in every message anyhow.
struct Boot {
    siaddr: Ipv4Addr,
    sname: [u8; 64],
    file: [u8; 128],
}

impl Boot {
    const NONE: Self = Self { siaddr: Ipv4Addr::UNSPECIFIED, sname: [0; 64], file: [0; 128] };

    fn of(lease: &Lease) -> Self {
        let server = lease.tftp_server.as_deref().unwrap_or_default();
        Self {
            siaddr: server.parse().unwrap_or(Ipv4Addr::UNSPECIFIED),
            sname: field(server),
            file: field(lease.boot_file.as_deref().unwrap_or_default()),
        }
    }
}

/// A text with a NUL at its end; empty when it does not fit, since half a name is another one.
fn field<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    if text.len() < N {
        field.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    }
    field
}

/// Fixed fields, options, end, padding.
fn bootp(request: &Request<'_>, ciaddr: Ipv4Addr, yiaddr: Ipv4Addr, boot: &Boot, options: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_LEN.saturating_add(options.len()).saturating_add(1).max(MIN_LEN));
    out.extend([OP_REPLY, HTYPE_ETHERNET, HLEN_ETHERNET, 0]);
    out.extend(request.xid);
    out.extend([0; 2]); // secs
    out.extend(request.flags);
    out.extend(ciaddr.octets());
    out.extend(yiaddr.octets());
    out.extend(boot.siaddr.octets());
    out.extend([0; 4]); // giaddr
    out.extend(request.chaddr.0);
    out.extend([0; 10]); // rest of chaddr
    out.extend(boot.sname);
    out.extend(boot.file);
    out.extend(COOKIE);
    out.extend(options);
    out.push(options::END);
    let padded = out.len().max(MIN_LEN);
    out.resize(padded, 0);
    out
}
