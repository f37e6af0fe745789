// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test found out about the kernel it runs on, as lines for whoever started it.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Begins such a line; a key and a value follow, separated by a space.
pub const MARK: &str = "@fact ";

/// Tells one fact. Not by `println!`: what passing tests print that way is kept back.
pub fn tell(key: &str, value: impl Display) {
    // Whoever reads a table of facts sees that one is missing; a test has other things to fail for.
    writeln!(io::stdout().lock(), "\n{MARK}{key} {value}").ok();
}

/// Key and value of a line that tells one.
pub fn read(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix(MARK)?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_tell_nothing() {
        assert_eq!(read("@fact hook tcx and more"), Some(("hook", "tcx and more")));
        assert_eq!(read("test load::x ... ok"), None);
        assert_eq!(read("@fact hook"), None);
    }
}
