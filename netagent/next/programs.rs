// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent with the same ABI and other programs: for tests of upgrades alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    netagent::cli::main()
}
