// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the stand-in costs by itself: frames read from one tap, written to another, and dropped there at once.

use std::{net::UdpSocket, thread, time::Duration};

use anyhow::{Context as _, Result};
use netagent_tests::{affinity::pin, interrupt, stand_in::GUEST_LINK, topology::POD4};

use super::{Guest, Player};
use crate::bench::{
    load::Cpus,
    scene::Sink,
    series::{Better, Series, Unit},
    step,
    variant::{Variant, Workshop},
};

/// Of one round.
const FRAMES: u32 = 50_000;
const ROUNDS: u32 = 5;
const DISCARD: u16 = 9;
/// With Ethernet, IPv4 and UDP headers 64 bytes.
const PAYLOAD: [u8; 22] = [0; 22];
/// A tap's ring that nothing comes out of for so long is empty.
const QUIET: Duration = Duration::from_millis(20);

/// Nanoseconds of its threads per frame.
pub(in crate::bench) fn measure(workshop: &Workshop, cpus: Cpus) -> Result<Series> {
    step("stand-in", |_| {
        let guest = Guest::move_in(Variant::IpOnTap, workshop, Player::StandIn, cpus)?;
        let inside = guest.inside().context("a stand-in has a namespace")?;
        let sink = Sink::at(&workshop.attacher, inside, GUEST_LINK)?;
        let rounds =
            (0..ROUNDS).map(|_| round(&guest, &sink, cpus.drain).map(Some)).collect::<Result<_>>()?;
        let series = Series {
            measure: "time per packet".to_owned(),
            case: "from tap to tap, 64 B".to_owned(),
            variant: "stand-in".to_owned(),
            unit: Unit::Nanoseconds,
            better: Better::Lower,
            rounds,
        };
        Ok((series, "joins two taps with nothing between them".to_owned()))
    })
}

fn round(guest: &Guest, sink: &Sink, cpu: usize) -> Result<f64> {
    let (counted, time) = (sink.counter.read()?, guest.vmm_time()?);
    guest.node().run_inside(|| flood(cpu))??;
    let mut seen = counted;
    loop {
        thread::sleep(QUIET);
        interrupt::check()?;
        let now = sink.counter.read()?;
        if now == seen {
            break;
        }
        seen = now;
    }
    let time = guest.vmm_time()?.saturating_sub(time);
    Ok(time.as_nanos() as f64 / seen.saturating_sub(counted) as f64)
}

/// What a full ring drops is not read, and not counted.
fn flood(cpu: usize) -> Result<()> {
    pin(cpu)?;
    let socket = UdpSocket::bind("0.0.0.0:0").context("cannot open a UDP socket")?;
    socket.connect((POD4, DISCARD)).context("cannot connect a UDP socket")?;
    for _ in 0..FRAMES {
        socket.send(&PAYLOAD).context("cannot send a datagram")?;
    }
    Ok(())
}
