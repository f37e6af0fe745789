// SPDX-License-Identifier: MIT OR Apache-2.0
//! The times of RFC 4861, section 6.2.4 and 6.2.6, without a clock.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::Schedule;

const DAY: u32 = 86_400;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn three_soon_and_then_now_and_then() {
    let start = Instant::now();
    for (random, interval) in [(0, 200), (u32::MAX / 2, 400), (u32::MAX, 600)] {
        let mut schedule = Schedule::new(start, DAY, random);
        assert!(schedule.due() >= start && schedule.due() <= start + Duration::from_millis(500));
        let first = schedule.due();
        let second = schedule.sent(first, random);
        assert_eq!(second - first, secs(16));
        let third = schedule.sent(second, random);
        assert_eq!(third - second, secs(16));
        let fourth = schedule.sent(third, random);
        let wait = (fourth - third).as_secs_f64();
        assert!((wait - f64::from(interval)).abs() < 0.01, "{wait}");
        assert_eq!(schedule.due(), fourth);
    }
}

#[test]
fn a_solicitation_is_answered_at_once_but_not_twice_within_three_seconds() {
    let start = Instant::now();
    let mut schedule = Schedule::new(start, DAY, u32::MAX);
    assert_eq!(schedule.solicited(start), start);
    schedule.sent(start, 0);
    let again = start + secs(1);
    assert_eq!(schedule.solicited(again), start + secs(3));
    assert_eq!(schedule.solicited(again + secs(1)), start + secs(3));
    schedule.sent(start + secs(3), 0);
    let later = start + secs(10);
    assert_eq!(schedule.solicited(later), later);
}

#[test]
fn a_solicitation_never_puts_anything_off() {
    let start = Instant::now();
    let mut schedule = Schedule::new(start, DAY, 0);
    schedule.sent(start, 0);
    let due = schedule.due();
    assert_eq!(schedule.solicited(due + secs(1)), due);
}

#[test]
fn a_change_is_said_at_once_and_three_times() {
    let start = Instant::now();
    let mut schedule = Schedule::new(start, DAY, 0);
    let mut now = start;
    for _ in 0..5 {
        now = schedule.sent(now, u32::MAX);
    }
    let changed = now - secs(100);
    schedule.changed(changed, DAY, 0);
    assert_eq!(schedule.due(), changed);
    let second = schedule.sent(changed, u32::MAX);
    assert_eq!(second - changed, secs(16));
    // Right after words that were just spoken it waits as all do.
    schedule.changed(changed + secs(1), DAY, 0);
    assert_eq!(schedule.due(), changed + secs(3));
}

#[test]
fn a_short_lifetime_is_said_again_before_it_ends() {
    let start = Instant::now();
    for (lifetime, longest) in [(90, 30), (600, 200), (12, 4), (0, 4), (u32::MAX, 600)] {
        let mut schedule = Schedule::new(start, lifetime, 0);
        let mut now = start;
        for _ in 0..3 {
            now = schedule.sent(now, u32::MAX);
        }
        assert_eq!(schedule.sent(now, u32::MAX) - now, secs(longest), "{lifetime}");
    }
}

#[derive(Clone, Debug)]
enum Happens {
    Solicited(u64),
    Changed(u64, u32),
    Due(u32),
}

proptest! {
    /// Whatever a guest does, it hears no more than one round in three seconds, and one in ten minutes at least.
    #[test]
    fn never_too_often_and_never_too_seldom(
        happens in prop::collection::vec(prop_oneof![
            (0u64..20_000).prop_map(Happens::Solicited),
            ((0u64..20_000), any::<u32>()).prop_map(|(wait, random)| Happens::Changed(wait, random)),
            any::<u32>().prop_map(Happens::Due),
        ], 0..200),
        lifetime in any::<u32>(),
    ) {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(now, lifetime, 0);
        let mut last: Option<Instant> = None;
        for happens in happens {
            let (wait, what) = match happens {
                Happens::Solicited(wait) => (Duration::from_millis(wait), true),
                Happens::Changed(wait, random) => {
                    now += Duration::from_millis(wait);
                    schedule.changed(now, lifetime, random);
                    (Duration::ZERO, false)
                }
                Happens::Due(random) => {
                    now = now.max(schedule.due());
                    if let Some(last) = last {
                        prop_assert!(now - last >= secs(3));
                    }
                    last = Some(now);
                    let next = schedule.sent(now, random);
                    prop_assert!(next - now >= secs(3) && next - now <= secs(600));
                    (Duration::ZERO, false)
                }
            };
            now += wait;
            if what {
                schedule.solicited(now);
            }
            prop_assert!(schedule.due() <= now + secs(600));
        }
    }
}
