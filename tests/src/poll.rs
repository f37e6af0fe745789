// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for a condition with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::interrupt;

/// How long between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `condition` yields something. The error says what was waited for and how long.
pub fn wait_until<T>(what: &str, timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    try_until(what, timeout, || Ok(condition()))
}

/// As [`wait_until`], and ends at once when `condition` fails.
pub fn try_until<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        interrupt::check()?;
        if started.elapsed() >= timeout {
            bail!("waited {:.1} s in vain for {what}", timeout.as_secs_f64());
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_again_until_the_condition_holds() {
        let mut looks = 0;
        let found = wait_until("the third look", Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some("seen")
        });
        assert_eq!(found.unwrap(), "seen");
    }

    #[test]
    fn says_what_it_waited_for() {
        let error = wait_until("rain", Duration::ZERO, || None::<()>).unwrap_err();
        assert_eq!(error.to_string(), "waited 0.0 s in vain for rain");
    }

    #[test]
    fn a_failing_condition_ends_the_wait() {
        let error = try_until("rain", Duration::from_secs(60), || -> Result<Option<()>> { bail!("drought") });
        assert_eq!(error.unwrap_err().to_string(), "drought");
    }
}
