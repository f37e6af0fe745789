// SPDX-License-Identifier: MIT OR Apache-2.0
//! The share of the punt ring that a port has.

use bytemuck::{Pod, Zeroable};

/// Frames for the agent that a port may still send.
///
/// Two CPUs may take the same token: with a multi-queue tap a port gets at most one token more per CPU, which costs
/// less than a lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Bucket {
    /// When `tokens` was last brought up to date, in nanoseconds of `CLOCK_MONOTONIC`; 0: never.
    pub updated_ns: u64,
    /// Frames left.
    pub tokens: u64,
}

impl Bucket {
    /// Tokens of a full bucket: a guest's boot with three address families and retries fits in.
    pub const BURST: u64 = 64;
    /// Time in which one token comes back: 50 frames per second.
    pub const REFILL_NS: u64 = 20_000_000;

    /// Takes a token at `now_ns`; `false` when there is none.
    #[inline(always)]
    pub fn take(&mut self, now_ns: u64) -> bool {
        if self.updated_ns == 0 {
            *self = Self { updated_ns: now_ns, tokens: Self::BURST };
        }
        let earned = now_ns.saturating_sub(self.updated_ns) / Self::REFILL_NS;
        if earned > 0 {
            self.tokens = Self::BURST.min(self.tokens.saturating_add(earned));
            self.updated_ns = self.updated_ns.wrapping_add(earned.wrapping_mul(Self::REFILL_NS));
        }
        let granted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn grants(bucket: &mut Bucket, now: u64, tries: u64) -> u64 {
        (0..tries).filter(|_| bucket.take(now)).count() as u64
    }

    #[test]
    fn a_flood_gets_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::zeroed();
        assert_eq!(grants(&mut bucket, SECOND, 100_000), Bucket::BURST);
        assert_eq!(grants(&mut bucket, SECOND + Bucket::REFILL_NS - 1, 10), 0);
        assert_eq!(grants(&mut bucket, 2 * SECOND, 100_000), SECOND / Bucket::REFILL_NS);
    }

    #[test]
    fn a_quiet_guest_saves_no_more_than_a_burst() {
        let mut bucket = Bucket::zeroed();
        assert!(bucket.take(SECOND));
        assert_eq!(grants(&mut bucket, 3600 * SECOND, 1000), Bucket::BURST);
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_neither_grants_nor_panics() {
        let mut bucket = Bucket { updated_ns: 10 * SECOND, tokens: 1 };
        assert!(bucket.take(SECOND));
        assert!(!bucket.take(SECOND));
        assert!(!bucket.take(10 * SECOND));
    }
}
