// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same work many times, several at a time.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, anyhow};
use netagent_tests::interrupt;

/// Does `work` for each of the numbers below `count`, as many at a time as there are hands; in their order.
pub(super) fn each<T: Send>(
    hands: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let mut done = thread::scope(|scope| {
        let hand = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok(done);
                }
                interrupt::check()?;
                // When one fails, the others need not begin.
                done.push((at, work(at).inspect_err(|_| next.store(count, Ordering::Relaxed))?));
            }
        };
        let hands: Vec<_> = (0..hands).map(|_| scope.spawn(hand)).collect();
        let done: Result<Vec<_>> = hands
            .into_iter()
            .map(|hand| hand.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
            .collect();
        anyhow::Ok(done?.into_iter().flatten().collect::<Vec<_>>())
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn all_is_done_and_stays_in_order() {
        assert_eq!(each(3, 20, |at| Ok(at * 2)).unwrap(), (0..20).map(|at| at * 2).collect::<Vec<_>>());
        assert_eq!(each(3, 0, Ok).unwrap(), Vec::<usize>::new());
    }

    #[test]
    fn what_fails_ends_it() {
        let done = each(2, 1000, |at| if at == 5 { bail!("five") } else { Ok(at) });
        assert_eq!(done.unwrap_err().to_string(), "five");
    }
}
