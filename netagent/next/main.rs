// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent as its next version might be, with another ABI: for tests of upgrades alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    netagent::cli::main()
}
