// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which CPU a thread runs on.

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Keeps the calling thread on `cpu`, and the threads and processes that it starts.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .with_context(|| format!("cannot keep a thread on CPU {cpu}"))
}
