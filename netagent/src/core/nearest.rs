// SPDX-License-Identifier: MIT OR Apache-2.0
//! Of the words that there are, the one that somebody most likely meant.

/// Longest word that is compared: the comparison takes the product of the lengths, and no key of ours is longer.
const LONGEST: usize = 64;

/// The known word nearest to `word`; `None` when all are so far from it that naming one would only mislead.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word)?;
    known
        .into_iter()
        .filter_map(|candidate| Some((distance(&word, &plain(candidate)?), candidate)))
        // A third of the letters: `queue` for `queues`, `ownr` for `owner`, and not `mac` for `tap`.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case, `-` and `_` are how people write a word, not which word it is.
fn plain(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word
        .chars()
        .take(LONGEST + 1)
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect();
    (letters.len() <= LONGEST).then_some(letters)
}

/// Letters to put in, take out or change (Levenshtein), where two neighbours that changed places count once.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, from) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut least = (at(&last, column) + usize::from(from != to))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped = row
                .checked_sub(1)
                .zip(column.checked_sub(1))
                .filter(|(row, column)| a.get(*row) == Some(to) && b.get(*column) == Some(from));
            if let Some((_, column)) = swapped {
                least = least.min(at(&before, column) + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 8] = ["socket", "tap", "tier", "mode", "queues", "owner", "mac", "lease_seconds"];

    #[test]
    fn a_slip_of_the_pen_finds_its_word() {
        for (word, meant) in [
            ("queue", "queues"),
            ("ownr", "owner"),
            ("onwer", "owner"),
            ("Tap", "tap"),
            ("tpa", "tap"),
            ("sockets", "socket"),
            ("leaseSeconds", "lease_seconds"),
            ("lease-second", "lease_seconds"),
            ("tier", "tier"),
        ] {
            assert_eq!(nearest(word, KEYS), Some(meant), "{word}");
        }
    }

    #[test]
    fn another_word_is_no_slip() {
        for word in ["", "bridge", "hairpinMode", "x", &"q".repeat(100_000), "ÄÖÜ"] {
            assert_eq!(nearest(word, KEYS), None, "{word:.20}");
        }
        assert_eq!(nearest("tap", []), None);
    }

    #[test]
    fn distances_are_those_of_the_books() {
        let of = |a: &str, b: &str| distance(&plain(a).unwrap(), &plain(b).unwrap());
        assert_eq!((of("kitten", "sitting"), of("", "abc"), of("abc", ""), of("", "")), (3, 3, 3, 0));
        assert_eq!((of("ab", "ba"), of("abcd", "acbd"), of("same", "same")), (1, 1, 0));
    }
}
