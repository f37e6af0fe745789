// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rate of the CPU's time stamp counter: TCG passes it through, and microvm has no clock to measure it by.

use std::{
    hint::spin_loop,
    time::{Duration, Instant},
};

/// Long enough for an error far below what a guest's clock needs.
const SPAN: Duration = Duration::from_millis(20);

/// Kilohertz, measured against the system's clock.
pub(super) fn rate_khz() -> u64 {
    let (start, first) = (Instant::now(), counter());
    while start.elapsed() < SPAN {
        spin_loop();
    }
    let (ticks, nanoseconds) = (counter().wrapping_sub(first), start.elapsed().as_nanos());
    u64::try_from(u128::from(ticks) * 1_000_000 / nanoseconds.max(1)).unwrap_or(u64::MAX)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the standard library marks the instruction unsafe")]
fn counter() -> u64 {
    // SAFETY: RDTSC reads a counter and has no other effect; every x86-64 CPU has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Other hosts: QEMU's TCG counts nanoseconds there (`cpu_get_host_ticks`, include/qemu/timer.h).
#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_a_rate_a_cpu_can_have() {
        let rate = super::rate_khz();
        assert!((100_000..10_000_000).contains(&rate), "{rate} kHz");
    }
}
