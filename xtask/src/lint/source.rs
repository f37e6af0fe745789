// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Rust file as the rules see it: its tokens and paths, without comments, literals and test modules.
//!
//! Not a parser: the rules ask only which paths a file names and where. That needs no syntax tree, and so no
//! dependency and no second.

/// An identifier or one other character (`::` is one token), with its line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// `a::b::c`, however it was written: groups in `use` are expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedPath {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// The tokens of `text`, test modules left out.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    without_tests(&tokenize(&blank(text)))
}

/// How many lines of `text` are not in test modules.
pub(super) fn lines_without_tests(text: &str) -> usize {
    let all = tokenize(&blank(text));
    let in_tests: usize = test_ranges(&all)
        .into_iter()
        .filter_map(|(start, end)| Some(all.get(end)?.line - all.get(start)?.line + 1))
        .sum();
    text.lines().count() - in_tests
}

/// Every path in the tokens.
pub(super) fn paths(tokens: &[Token]) -> Vec<NamedPath> {
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let follows_dot = at > 0 && tokens.get(at - 1).is_some_and(|before| before.text == ".");
        if is_ident(&token.text) && !follows_dot {
            at = path(tokens, at, &[], &mut paths);
        } else {
            at += 1;
        }
    }
    paths
}

/// Reads one path that starts at `at`, or a use tree below `prefix`; returns where it ends.
fn path(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token.text.as_str() {
                        "}" => return at + 1,
                        text if is_ident(text) || text == "{" => at = path(tokens, at, &segments, paths),
                        _ => at += 1,
                    }
                }
                return at;
            }
            text if is_ident(text) => segments.push(text.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|next| next.text != "::") {
            break;
        }
        // `::<` is a turbofish and ends the path; `::*` takes all below it.
        if !tokens.get(at + 1).is_some_and(|next| is_ident(&next.text) || next.text == "{") {
            break;
        }
        at += 1;
    }
    paths.push(NamedPath { segments, line });
    at
}

fn is_ident(text: &str) -> bool {
    text.starts_with(|first: char| first == '_' || first.is_alphabetic())
}

fn tokenize(blanked: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, text) in blanked.lines().enumerate() {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if first == '_' || first.is_alphanumeric() => {
                    rest.find(|char: char| char != '_' && !char.is_alphanumeric()).unwrap_or(rest.len())
                }
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            if !first.is_whitespace() {
                tokens.push(Token { text: token.to_owned(), line: number + 1 });
            }
            rest = after;
        }
    }
    tokens
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut from = 0;
    for (start, end) in test_ranges(tokens) {
        kept.extend_from_slice(tokens.get(from..start).unwrap_or_default());
        from = end + 1;
    }
    kept.extend_from_slice(tokens.get(from..).unwrap_or_default());
    kept
}

/// First and last token of each item under `#[cfg(test)]`.
fn test_ranges(tokens: &[Token]) -> Vec<(usize, usize)> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens.get(at..).unwrap_or_default();
        if CFG_TEST
            .iter()
            .enumerate()
            .all(|(index, text)| here.get(index).is_some_and(|token| token.text == *text))
        {
            let end = item_end(tokens, at + CFG_TEST.len());
            ranges.push((at, end));
            at = end;
        }
        at += 1;
    }
    ranges
}

/// The item's last token: the `;` outside brackets or the `}` that closes its first brace.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    return index;
                }
            }
            ";" if depth == 0 => return index,
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// `text` with comments and the insides of literals replaced by spaces; lines stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&char) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        let end = match (char, next) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => comment_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('r', Some('"' | '#')) if !in_word(&chars, at) => raw_string_end(&chars, at),
            ('b', Some('r')) if !in_word(&chars, at) => raw_string_end(&chars, at + 1),
            ('\'', _) => char_end(&chars, at),
            _ => at + 1,
        };
        let is_code = end == at + 1;
        for &char in chars.get(at..end).unwrap_or_default() {
            out.push(if is_code || char == '\n' { char } else { ' ' });
        }
        at = end;
    }
    out
}

fn in_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| chars.get(before));
    // `b` of a byte string is no word.
    before.is_some_and(|char| *char == '_' || char.is_alphanumeric())
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|&index| chars.get(index) == Some(&'\n')).unwrap_or(chars.len())
}

/// Block comments nest.
fn comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut index = at;
    while index < chars.len() {
        match (chars.get(index), chars.get(index + 1)) {
            (Some('/'), Some('*')) => (depth, index) = (depth + 1, index + 2),
            (Some('*'), Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index.min(chars.len());
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut index = at + 1;
    while let Some(char) = chars.get(index) {
        match char {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#`; for `r#ident` only the `r`.
fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars.iter().skip(at + 1).take_while(|char| **char == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at + 1;
    }
    let mut index = at + 2 + hashes;
    while index < chars.len() {
        let closes = chars.get(index) == Some(&'"')
            && chars.iter().skip(index + 1).take(hashes).filter(|char| **char == '#').count() == hashes;
        index += 1;
        if closes {
            return index + hashes;
        }
    }
    chars.len()
}

/// A character, or a lifetime, of which only the quote is taken.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let close = (at + 3..chars.len()).find(|&index| chars.get(index) == Some(&'\''));
            close.map_or(chars.len(), |close| close + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        paths(&tokens(text)).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_are_expanded() {
        let found = named("use crate::{core::{ids::Mac, plan}, sys, netlink as n};");
        for path in ["crate::core::ids::Mac", "crate::core::plan", "crate::sys", "crate::netlink"] {
            assert!(found.iter().any(|one| one == path), "{path} in {found:?}");
        }
    }

    #[test]
    fn paths_in_expressions_are_found() {
        let found = named("fn f() { let x = std::fs::read(a.tokio).len(); Vec::<aya::Ebpf>::new() }");
        assert!(
            found.contains(&"std::fs::read".to_owned()) && found.contains(&"aya::Ebpf".to_owned()),
            "{found:?}"
        );
        assert!(!found.contains(&"tokio".to_owned()), "a field is no path: {found:?}");
    }

    #[test]
    fn a_group_over_lines_keeps_each_line() {
        let found = paths(&tokens("use std::{\n    fs,\n    io,\n};\n"));
        let io = found.iter().find(|path| path.segments == ["std", "io"]).unwrap();
        assert_eq!(io.line, 3);
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "// tokio::a\n/* tokio /* b */ tokio::c */ let s = \"tokio::d \\\" tokio::e\"; let c = '\"'; \
            let r = r#\"tokio::f \" g\"#; let b = br\"tokio::h\"; fn l<'a>(x: &'a str) {} // tokio";
        assert!(!named(text).iter().any(|path| path.contains("tokio")), "{:?}", named(text));
        assert!(named(text).contains(&"str".to_owned()));
    }

    #[test]
    fn test_modules_are_left_out() {
        let text =
            "use a::b;\n#[cfg(test)]\nmod tests {\n    use tokio::x;\n    fn f() { { } }\n}\nuse c::d;\n";
        let found = named(text);
        assert!(
            found.contains(&"c::d".to_owned()) && !found.iter().any(|path| path.contains("tokio")),
            "{found:?}"
        );
        assert_eq!(lines_without_tests(text), 2);
    }

    #[test]
    fn a_test_use_is_left_out() {
        assert!(
            !named("#[cfg(test)]\nuse tokio::{a, b};\nuse c::d;").iter().any(|path| path.contains("tokio"))
        );
    }
}
