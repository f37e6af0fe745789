// SPDX-License-Identifier: MIT OR Apache-2.0
//! The punt ring: frames that the programs hand to the agent.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use aya::maps::{Map, MapData, RingBuf};
use netagent_common::maps::Punted;
use tokio::io::unix::AsyncFd;

use super::{DatapathError, Pins, maps::PUNT};
use crate::{core::budget::Budget, sys::readiness};

/// The reading end. One task reads it for all ports of the node.
pub struct PuntRing {
    ring: RingBuf<MapData>,
    ready: AsyncFd<OwnedFd>,
    odd: Odd,
}

/// Records of another layout, as an earlier version's programs write them: guests decide how many there are.
struct Odd {
    told: Budget,
    since: Instant,
}

impl PuntRing {
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        let failed = DatapathError::map("open", PUNT);
        let data = MapData::from_pin(pins.map(PUNT)).map_err(&failed)?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(&failed)?;
        let watched = ring.as_fd().try_clone_to_owned().map_err(DatapathError::Watch)?;
        let ready = readiness::readable(watched).map_err(DatapathError::Watch)?;
        let odd = Odd { told: Budget::new(4, Duration::from_secs(60)), since: Instant::now() };
        Ok(Self { ring, ready, odd })
    }

    /// Waits for frames and gives each to `take`. A record of another size than this agent's is skipped.
    ///
    /// # Errors
    /// When the ring cannot be watched any more.
    pub async fn drain(&mut self, take: impl FnMut(&Punted)) -> Result<(), DatapathError> {
        let mut ready = self.ready.readable().await.map_err(DatapathError::Watch)?;
        empty(&mut self.ring, &mut self.odd, take);
        // Only after the ring was seen empty: what comes later wakes this task again.
        ready.clear_ready();
        Ok(())
    }

    /// Gives the frames that are there to `take`, without waiting.
    pub fn drain_now(&mut self, take: impl FnMut(&Punted)) {
        empty(&mut self.ring, &mut self.odd, take);
    }
}

impl Odd {
    fn note(&mut self, length: usize) {
        if let Some(suppressed) = self.told.take(self.since.elapsed()) {
            tracing::error!(length, suppressed, "skipped a punt record of another layout");
        }
    }
}

fn empty(ring: &mut RingBuf<MapData>, odd: &mut Odd, mut take: impl FnMut(&Punted)) {
    while let Some(record) = ring.next() {
        if record.len() == size_of::<Punted>() {
            take(&bytemuck::pod_read_unaligned(&record));
        } else {
            odd.note(record.len());
        }
    }
}
