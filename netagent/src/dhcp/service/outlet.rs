// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way of an answer out, as the service sees it: tests and fuzzing have one without a kernel.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{Served, line::Line};
use crate::core::ids::{NetnsId, PortId};

/// Where a port's answers go.
#[derive(Debug)]
pub struct Tap {
    /// The port's name.
    pub port: PortId,
    /// Its index, in the port's namespace.
    pub ifindex: u32,
    pub(super) netns: PathBuf,
    pub(super) netns_id: NetnsId,
    pub(super) line: Mutex<Line>,
    lost: Arc<AtomicU64>,
}

impl Tap {
    /// `lost` counts answers that do not get there.
    pub(super) fn new(served: &Served, lost: Arc<AtomicU64>) -> Self {
        Self {
            port: served.port.clone(),
            ifindex: served.tap_ifindex,
            netns: served.netns.clone(),
            netns_id: served.netns_id,
            line: Mutex::default(),
            lost,
        }
    }

    /// Whether it is the tap of what is served.
    pub(super) fn is_of(&self, served: &Served) -> bool {
        self.ifindex == served.tap_ifindex && self.netns == served.netns && self.netns_id == served.netns_id
    }

    pub(super) fn lost(&self, answers: usize) {
        self.lost.fetch_add(answers as u64, Ordering::Relaxed);
    }
}

/// What a guest is to hear.
#[derive(Debug)]
pub struct Words {
    /// Ethernet frames, in this order.
    pub frames: Vec<Vec<u8>>,
    /// Whether it asked. What it did not ask for may find nobody at the tap: the guest is not up yet, or stopped.
    pub asked: bool,
}

/// Sends to taps. Nothing here waits.
pub trait Outlet: Send + Sync + fmt::Debug {
    /// Sends; `false` when so much for this tap is on its way that there is no room.
    fn send(&self, tap: &Arc<Tap>, words: Words) -> bool;

    /// Nothing is sent to this tap any more.
    fn leave(&self, tap: &Tap) {
        let _ = tap;
    }

    /// Gives up what was not used for a while. When to be asked again, if there is more.
    fn rest(&self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }
}
