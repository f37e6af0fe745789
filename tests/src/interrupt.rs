// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process-wide wish to stop: every wait of the harness ends soon after it was made, so that clean-up runs.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Makes all waits fail from now on. For the signal thread of a program that uses the harness.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether somebody asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// An error once somebody asked to stop.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}
