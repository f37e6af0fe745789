// SPDX-License-Identifier: MIT OR Apache-2.0
//! The self-test: a question from the tap to the gateway and its answer back, before a guest depends on the path.

use std::{
    io,
    time::{Duration, Instant},
};

use netagent_common::maps::{PEER, Port, SELF_TEST};
use tokio::time::timeout;

use crate::{
    core::{question::Question, self_test::SelfTest, tier::Tier},
    datapath::{DatapathError, Maps},
    sys::tap_queue::WatchedTapQueue,
};

/// Waits after each question; a gateway on the node answers in less than a millisecond. A port whose gateway never
/// answers is held up by both tiers' waits together.
const ASK: [Duration; 3] = millis([5, 20, 50]);
/// The waits of the second try that convicts `peer`: a busy machine must not.
const ASK_AGAIN: [Duration; 3] = millis([20, 40, 60]);
/// Answers to earlier questions that are still on their way.
const LATE: Duration = Duration::from_millis(20);

const fn millis([a, b, c]: [u64; 3]) -> [Duration; 3] {
    [Duration::from_millis(a), Duration::from_millis(b), Duration::from_millis(c)]
}

/// The self-test could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The entry, by which the tier is changed and the outcome kept.
    #[error(transparent)]
    Entry(#[from] DatapathError),
    /// The slot has no entry any more.
    #[error("slot {0} has no entry")]
    NoEntry(u32),
    /// The tap.
    #[error("ask through the tap")]
    Tap(#[source] io::Error),
}

/// One port's path, with the tier in its entry.
pub(super) struct Trial<'a> {
    pub(super) maps: &'a Maps,
    pub(super) slot: u32,
    pub(super) entry: Port,
}

impl<'a> Trial<'a> {
    pub(super) fn of(maps: &'a Maps, slot: u32) -> Result<Self, ProveError> {
        let entry = maps.entry(slot)?.ok_or(ProveError::NoEntry(slot))?;
        Ok(Self { maps, slot, entry })
    }

    /// Asks through the port's tier, and where `peer` gets no answer through `plain`.
    pub(super) async fn make(
        &mut self,
        queue: &WatchedTapQueue,
        question: &Question,
        tier: Tier,
    ) -> Result<SelfTest, ProveError> {
        if answers(queue, question, &ASK).await? {
            return Ok(SelfTest::Proved(tier));
        }
        if tier != Tier::Peer {
            return Ok(SelfTest::Unanswered);
        }
        self.take_peer(false)?;
        let plain = answers(queue, question, &ASK).await?;
        discard(queue, LATE).await?;
        self.take_peer(true)?;
        if !plain {
            return Ok(SelfTest::Unanswered);
        }
        // The gateway is there now; it may have been late before.
        if answers(queue, question, &ASK_AGAIN).await? {
            return Ok(SelfTest::Proved(Tier::Peer));
        }
        self.take_peer(false)?;
        Ok(SelfTest::PeerFailed)
    }

    /// Notes the outcome in the entry, where the next agent finds it.
    pub(super) fn note(&mut self, outcome: SelfTest) -> Result<(), ProveError> {
        self.entry.flags = self.entry.flags & !SELF_TEST | outcome.to_flags();
        Ok(self.maps.write_entry(self.slot, &self.entry)?)
    }

    fn take_peer(&mut self, peer: bool) -> Result<(), ProveError> {
        self.entry.flags = self.entry.flags & !PEER | if peer { PEER } else { 0 };
        Ok(self.maps.write_entry(self.slot, &self.entry)?)
    }
}

/// Asks up to as many times as there are waits.
async fn answers(
    queue: &WatchedTapQueue,
    question: &Question,
    waits: &[Duration],
) -> Result<bool, ProveError> {
    let frame = question.frame();
    for wait in waits {
        queue.send(&frame).map_err(ProveError::Tap)?;
        let answered = async {
            while !question.is_answered_by(&queue.receive().await?) {}
            Ok(())
        };
        match timeout(*wait, answered).await {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(e)) => return Err(ProveError::Tap(e)),
            Err(_) => {}
        }
    }
    // On a busy machine the answer may be there, and the runtime not have heard of it.
    while let Some(frame) = queue.receive_now().map_err(ProveError::Tap)? {
        if question.is_answered_by(&frame) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads away what comes within `time`.
async fn discard(queue: &WatchedTapQueue, time: Duration) -> Result<(), ProveError> {
    let until = Instant::now() + time;
    while let Ok(read) = timeout(until.saturating_duration_since(Instant::now()), queue.receive()).await {
        read.map_err(ProveError::Tap)?;
    }
    Ok(())
}
