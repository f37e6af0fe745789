// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long to wait before trying again.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// First and longest wait; it doubles in between.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// The wait after so many failures in a row, the first one counted as 1.
pub(super) fn after(failures: u32) -> Duration {
    jittered(FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST))
}

/// Up to a tenth more: a thousand nodes that lost their runtimes together must not all come back in one moment.
pub(super) fn jittered(wait: Duration) -> Duration {
    let part = RandomState::new().hash_one(wait) % 100;
    wait.saturating_add(wait.mul_f64(part as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        for (failures, least) in [(0, FIRST), (1, FIRST), (3, FIRST * 4), (u32::MAX, LONGEST)] {
            assert!((least..=least.mul_f64(1.1)).contains(&after(failures)), "{failures}");
        }
    }
}
