// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's clock around every program run, switched on for as long as it is needed.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

use super::{Attributes, Call, call_for_fd};

/// Statistics are on while this lives. The switch hangs on a descriptor, not on the sysctl kernel.bpf_stats_enabled:
/// however the bench ends, the machine is as it was.
#[derive(Debug)]
pub(in crate::bench) struct RunTimes {
    _fd: OwnedFd,
}

#[repr(C)]
struct EnableStats {
    /// `BPF_STATS_RUN_TIME`.
    kind: u32,
}

#[expect(unsafe_code, reason = "see `Attributes`")]
// SAFETY: no pointers.
unsafe impl Attributes for EnableStats {}

impl RunTimes {
    /// Switches them on.
    pub(in crate::bench) fn enable() -> Result<Self> {
        let fd = call_for_fd(Call::EnableStats, &mut EnableStats { kind: 0 })
            .context("cannot switch on BPF statistics (kernel 5.8 and later, CAP_SYS_ADMIN)")?;
        Ok(Self { _fd: fd })
    }
}
