// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether an SPDX expression can be satisfied by a list of licences.

use anyhow::{Result, bail};

/// `MIT OR (Apache-2.0 AND BSD-3-Clause)`; the old `MIT/Apache-2.0` means OR. `X WITH e` is a licence of its
/// own name, and is covered by X too: an exception only adds permissions.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let value = any(&mut words, allowed, expression)?;
    match words.next() {
        None => Ok(value),
        Some(word) => bail!("unexpected `{word}` in the licence expression `{expression}`"),
    }
}

type Words<'a, 'b> = &'a mut std::iter::Peekable<std::str::SplitWhitespace<'b>>;

fn any(words: Words<'_, '_>, allowed: &[String], whole: &str) -> Result<bool> {
    let mut value = all(words, allowed, whole)?;
    while words.next_if_eq(&"OR").is_some() {
        value |= all(words, allowed, whole)?;
    }
    Ok(value)
}

fn all(words: Words<'_, '_>, allowed: &[String], whole: &str) -> Result<bool> {
    let mut value = one(words, allowed, whole)?;
    while words.next_if_eq(&"AND").is_some() {
        value &= one(words, allowed, whole)?;
    }
    Ok(value)
}

fn one(words: Words<'_, '_>, allowed: &[String], whole: &str) -> Result<bool> {
    match words.next() {
        Some("(") => {
            let value = any(words, allowed, whole)?;
            if words.next() != Some(")") {
                bail!("unclosed parenthesis in the licence expression `{whole}`");
            }
            Ok(value)
        }
        Some(word @ (")" | "AND" | "OR" | "WITH")) => {
            bail!("unexpected `{word}` in the licence expression `{whole}`")
        }
        Some(licence) => {
            let mut value = allowed.iter().any(|one| one == licence);
            if words.next_if_eq(&"WITH").is_some() {
                let Some(exception) = words.next() else { bail!("`{whole}` ends after WITH") };
                let full = format!("{licence} WITH {exception}");
                value |= allowed.contains(&full);
            }
            Ok(value)
        }
        None => bail!("the licence expression `{whole}` ends early"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> Option<bool> {
        is_allowed(expression, &["MIT".to_owned(), "Apache-2.0".to_owned()]).ok()
    }

    #[test]
    fn or_needs_one_and_needs_both() {
        assert_eq!(allowed("MIT OR GPL-3.0"), Some(true));
        assert_eq!(allowed("GPL-3.0 OR LGPL-3.0"), Some(false));
        assert_eq!(allowed("MIT AND GPL-3.0"), Some(false));
        assert_eq!(allowed("MIT AND Apache-2.0"), Some(true));
        assert_eq!(allowed("Unlicense/MIT"), Some(true));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert_eq!(allowed("MIT OR MIT AND GPL-3.0"), Some(true));
        assert_eq!(allowed("(MIT OR MIT) AND GPL-3.0"), Some(false));
        assert_eq!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0"), Some(false));
    }

    #[test]
    fn an_exception_does_not_take_away() {
        assert_eq!(allowed("Apache-2.0 WITH LLVM-exception"), Some(true));
        assert_eq!(allowed("GPL-2.0 WITH Linux-syscall-note"), Some(false));
    }

    #[test]
    fn nonsense_is_an_error() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "AND MIT", "MIT Apache-2.0"] {
            assert_eq!(allowed(expression), None, "{expression}");
        }
    }
}
