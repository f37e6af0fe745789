// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what Rust's test binaries print.

use std::ops::AddAssign;

/// Counted tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Ignored by the test binary, or in a tier that could not run.
    pub(crate) skipped: u64,
}

impl Counts {
    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// `test result: ok. 57 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`; None for
/// every other line.
pub(crate) fn summary(line: &str) -> Option<Counts> {
    let plain = without_colours(line);
    let (_, counts) = plain.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

/// The number of tests in the output of `--list`.
pub(crate) fn listed(output: &str) -> u64 {
    output.lines().filter(|line| line.ends_with(": test")).count().try_into().unwrap_or(u64::MAX)
}

/// Drops `ESC [ ... letter`.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            plain.push(char);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "test result: ok. 57 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s";

    #[test]
    fn a_summary_is_counted() {
        assert_eq!(summary(LINE), Some(Counts { passed: 57, failed: 2, skipped: 1 }));
    }

    #[test]
    fn colours_do_not_matter() {
        let line = LINE.replace("ok", "\u{1b}[32mok\u{1b}[m").replace("ok", "ok\u{1b}[0;1m");
        assert_eq!(summary(&line), summary(LINE));
    }

    #[test]
    fn other_lines_are_not_summaries() {
        for line in
            ["", "test result: ok", "test x ... ok", "the test result: ok. 1 passed; 0 failed; 0 ignored;"]
        {
            assert_eq!(summary(line), None, "{line}");
        }
    }

    #[test]
    fn a_list_is_counted() {
        assert_eq!(
            listed("attach::twice: test\ndetach::gone: test\nbench: benchmark\n\n2 tests, 1 benchmark\n"),
            2
        );
    }
}
