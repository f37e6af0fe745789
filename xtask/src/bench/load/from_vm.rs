// SPDX-License-Identifier: MIT OR Apache-2.0
//! VM -> node: one thread writes frames to the tap. The kernel carries each through the path within the write.

use std::{os::fd::AsFd as _, time::Instant};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{interrupt, tap::Tap};
use nix::unistd::write;

use super::{Cpus, Sample, Slices, Switches, WARM_UP, frame::Frame, nanoseconds, pinned, settle};
use crate::bench::scene::Scene;

/// Sends `count` times `frame` and takes the time.
pub(in crate::bench) fn sample(scene: &Scene, cpus: Cpus, frame: Frame, count: u64) -> Result<Sample> {
    pinned(cpus.load, || send(scene, frame, count))
}

fn send(scene: &Scene, frame: Frame, count: u64) -> Result<Sample> {
    let mut packet = frame.vnet_header().to_vec();
    packet.extend(frame.bytes(scene.guest_to_gateway()));
    let arrived = || scene.from_vm.counter.read();

    let start = arrived()?;
    let warm_up = WARM_UP / frame.weight();
    write_frames(&scene.tap, &packet, warm_up)?;
    // Once the warm-up has arrived, what comes is of the measurement.
    let before = settle(start + warm_up, arrived)?;
    if before < start + warm_up {
        return Ok(Sample::of_lost_warm_up(warm_up, before - start));
    }

    let switches = Switches::now()?;
    let mut slices = Slices::of(frame);
    let mut sent = 0;
    while sent < count {
        let frames = slices.length.min(count - sent);
        let started = Instant::now();
        write_frames(&scene.tap, &packet, frames)?;
        slices.add(frames, nanoseconds(started.elapsed()));
        sent += frames;
    }
    let switches = Switches::now()?.since(switches);
    let arrived = settle(before + count, arrived)?.saturating_sub(before);
    Ok(Sample {
        sent: count,
        arrived,
        ns: slices.total_ns,
        slice_ns: slices.median(),
        waited_ns: 0,
        preempted: switches.involuntary,
        slept: switches.voluntary,
    })
}

fn write_frames(tap: &Tap, packet: &[u8], count: u64) -> Result<()> {
    for _ in 0..count {
        let written = write(tap.as_fd(), packet).context("cannot write to the tap")?;
        if written != packet.len() {
            bail!("the tap took {written} of {} bytes", packet.len());
        }
    }
    interrupt::check()
}
