// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary: agent and command line in one.

use std::process::ExitCode;

fn main() -> ExitCode {
    netagent::cli::main()
}
