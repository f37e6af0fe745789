// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ctrl-C and SIGTERM as a wish: every wait ends, and what was built is taken down in order.

use anyhow::{Context as _, Result};
use netagent_tests::interrupt;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Catches the signals from here on. Not by blocking them: children would inherit the mask, and an agent that starts
/// with SIGTERM blocked could not be ended; a caught signal is back at its default in a new program.
pub(crate) fn catch() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        #[expect(unsafe_code, reason = "a signal handler can only be installed by an unsafe call")]
        // SAFETY: the handler stores to an atomic and does nothing else, which is async-signal-safe; nobody else in
        // this program installs handlers for these signals.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot catch {signal}"))?;
    }
    Ok(())
}

extern "C" fn on_signal(_: std::ffi::c_int) {
    interrupt::request();
}
