// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: agent and command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: a runtime starts this for each pod.
    if netagent::cni::is_called() { netagent::cni::main() } else { netagent::cli::main() }
}
