// SPDX-License-Identifier: MIT OR Apache-2.0
//! Router advertisements to one guest, sans-IO: what the pod's routers would say if they knew the guest, as frames.
//!
//! [`answer`] is a pure function of adverts and a guest's solicitation; [`Schedule`] says when to speak unasked, and is
//! told the time and the random number. The codec is our own: etherparse writes headers and checksum, the options are
//! a dozen lines each.

mod advert;
mod frame;
mod options;
mod outcome;
mod schedule;
mod solicitation;
#[cfg(test)]
mod tests;

pub use advert::{Advert, final_word, retraction};
pub use outcome::{Advertisement, Outcome, Silence};
pub use schedule::Schedule;

/// Answers a whole Ethernet frame as it left the guest, without vnet header and frame check sequence, with one
/// advertisement of each router.
///
/// Takes any bytes; the time is linear in their number. The answer goes to all nodes (RFC 4861, section 6.2.6 leaves
/// the choice): a guest that solicits from `::` can be reached in no other way, and one answer serves the guest's
/// kernel and its network daemon alike, which ask one after the other. When it may go is [`Schedule::solicited`]'s word.
pub fn answer(adverts: &[Advert], frame: &[u8]) -> Outcome {
    match solicitation::check(adverts, frame) {
        Ok(()) => Outcome::Advertise(adverts.iter().map(advertise).collect()),
        Err(silence) => Outcome::Silent(silence),
    }
}

/// The frame of an advert, asked for or not. Its size is bounded by the advert's MTU, but not below 1280 bytes: what
/// has no place in it is left out, and named.
pub fn advertise(advert: &Advert) -> Advertisement {
    let (options, left_out) = options::fit(advert, frame::option_space(advert));
    Advertisement { router: advert.router, frame: frame::build(advert, &options), left_out }
}
