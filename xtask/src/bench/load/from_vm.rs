// SPDX-License-Identifier: MIT OR Apache-2.0
//! VM -> node: one thread writes frames to the tap. The kernel carries each through the path within the write.

use std::{os::fd::AsFd as _, time::Instant};

use anyhow::{Context as _, Result, bail};
use netagent_tests::{
    interrupt,
    tap::{Tap, VNET_HEADER},
};
use nix::unistd::write;

use super::{Cpus, SLICE, Sample, Slices, WARM_UP, nanoseconds, pinned, preemptions, settle};
use crate::bench::scene::Scene;

/// Sends `count` times `frame` and takes the time.
pub(in crate::bench) fn sample(scene: &Scene, cpus: Cpus, frame: &[u8], count: u64) -> Result<Sample> {
    pinned(cpus.load, || send(scene, frame, count))
}

fn send(scene: &Scene, frame: &[u8], count: u64) -> Result<Sample> {
    // An empty header: a whole packet, its checksum done.
    let mut packet = vec![0; VNET_HEADER];
    packet.extend_from_slice(frame);
    let arrived = || scene.from_vm.counter.read();

    let start = arrived()?;
    write_frames(&scene.tap, &packet, WARM_UP)?;
    // With what arrived of the warm-up gone, the rest is of the measurement.
    let before = settle(start + WARM_UP, arrived)?;

    let preempted = preemptions()?;
    let mut slices = Slices::default();
    let mut sent = 0;
    while sent < count {
        let frames = SLICE.min(count - sent);
        let started = Instant::now();
        write_frames(&scene.tap, &packet, frames)?;
        slices.add(frames, nanoseconds(started.elapsed()));
        sent += frames;
    }
    let arrived = settle(before + count, arrived)?.saturating_sub(before);
    let preempted = preemptions()?.saturating_sub(preempted);
    Ok(Sample {
        sent: count,
        arrived,
        ns: slices.total_ns,
        slice_ns: slices.median(),
        waited_ns: 0,
        preempted,
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
