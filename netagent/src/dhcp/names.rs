// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of the pod's names a guest can be given, whatever it is that tells them.

use std::fmt;

use crate::core::hand_off::MAX_SEARCH;

/// A label's length (RFC 1035, 2.3.4); option 12 is held to it as well.
pub(super) const MAX_LABEL: usize = 63;
/// A name's length as text, so that it has at most 255 bytes on the wire (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;

/// A name of the pod that its guest is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{usage} {name:?} is left out of DHCP replies: {defect}")]
pub struct UnusableName {
    /// What it was for.
    pub usage: NameUse,
    /// The name as the pod has it.
    pub name: String,
    /// What is wrong with it.
    pub defect: NameDefect,
}

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUse {
    /// Option 12.
    Hostname,
    /// Option 15.
    Domain,
    /// Option 119.
    SearchDomain,
}

impl fmt::Display for NameUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hostname => "hostname",
            Self::Domain => "domain",
            Self::SearchDomain => "search domain",
        })
    }
}

/// Why a name cannot be given to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameDefect {
    /// It is empty or the root.
    Empty,
    /// More than 253 characters.
    TooLong,
    /// A label is empty or has more than 63 characters.
    LabelLength,
    /// A character other than ASCII letters, digits, `-` and `_`, or `-` at an end of a label. Clients refuse the
    /// whole option for one of these (dhclient), or hand them to a shell.
    Character,
    /// It comes after 32 usable ones.
    TooMany,
}

impl fmt::Display for NameDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it has more than 253 characters",
            Self::LabelLength => "a label is empty or has more than 63 characters",
            Self::Character => {
                "a label has a character other than letters, digits, `-` and `_`, or begins or ends with one of these two"
            }
            Self::TooMany => "32 usable search domains come before it",
        })
    }
}

/// Usable search domains without trailing dot, in order, each once, at most [`MAX_SEARCH`].
pub(super) fn search(domains: &[String]) -> Vec<&str> {
    checked_search(domains).filter_map(|(_, checked)| checked.ok()).collect()
}

/// The search domains that a guest does not get.
pub(super) fn unusable_search(domains: &[String]) -> impl Iterator<Item = UnusableName> {
    checked_search(domains).filter_map(|(name, checked)| {
        let defect = checked.err()?;
        Some(UnusableName { usage: NameUse::SearchDomain, name: name.to_owned(), defect })
    })
}

/// Each search domain as the pod has it, and as a guest may get it; those that repeat another are passed over.
fn checked_search(domains: &[String]) -> impl Iterator<Item = (&str, Result<&str, NameDefect>)> {
    let mut usable: Vec<&str> = Vec::new();
    domains.iter().filter_map(move |domain| {
        let checked = match check(domain) {
            Ok(name) if usable.iter().any(|known| known.eq_ignore_ascii_case(name)) => return None,
            Ok(_) if usable.len() >= MAX_SEARCH => Err(NameDefect::TooMany),
            Ok(name) => {
                usable.push(name);
                Ok(name)
            }
            Err(defect) => Err(defect),
        };
        Some((domain.as_str(), checked))
    })
}

/// The name without a trailing dot, if every client takes it.
pub(super) fn check(name: &str) -> Result<&str, NameDefect> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(NameDefect::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameDefect::TooLong);
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL {
            return Err(NameDefect::LabelLength);
        }
        let known = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        // dhclient refuses a whole list for one such label, and dhcpcd what follows it.
        if !known || label.starts_with(['-', '_']) || label.ends_with(['-', '_']) {
            return Err(NameDefect::Character);
        }
    }
    Ok(name)
}

/// The names one after another, each whole: IPv6's options do without pointers (RFC 8415, section 10; RFC 8106,
/// section 5.2). The names must have passed [`check`].
pub(super) fn encode_whole(names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        name.split('.').for_each(|label| put_label(&mut out, label));
        out.push(0);
    }
    out
}

/// One label of a name that has passed [`check`] (RFC 1035, 3.1).
pub(super) fn put_label(out: &mut Vec<u8>, label: &str) {
    // At most `MAX_LABEL`.
    out.push(label.len() as u8);
    out.extend(label.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_in_letters_and_digits() {
        for name in ["_tcp.example", "a.b_.example", "-a.example", "a.b-"] {
            assert_eq!(check(name), Err(NameDefect::Character), "{name}");
        }
        assert_eq!(check("a_b-c.example"), Ok("a_b-c.example"));
    }

    #[test]
    fn unusable_and_repeated_names_take_no_other_s_place() {
        let odd = (0..40).map(|n| format!("{n}..odd"));
        let good = (0..33).map(|n| format!("d{n}.example"));
        let domains: Vec<String> = odd.chain(["D0.example.".to_owned()]).chain(good).collect();
        let told = search(&domains);
        assert_eq!((told.len(), told.first(), told.last()), (32, Some(&"D0.example"), Some(&"d31.example")));
        let left_out: Vec<UnusableName> = unusable_search(&domains).collect();
        assert_eq!(left_out.len(), 41);
        assert_eq!(
            left_out[40].to_string(),
            "search domain \"d32.example\" is left out of DHCP replies: 32 usable search domains come before it"
        );
    }

    #[test]
    fn names_without_pointers() {
        let domains = ["svc.cluster.local.", "a..b", "cluster.local", "CLUSTER.local"].map(String::from);
        let whole = encode_whole(&search(&domains));
        assert_eq!(whole, b"\x03svc\x07cluster\x05local\x00\x07cluster\x05local\x00");
        assert_eq!(unusable_search(&domains).map(|u| u.name).collect::<Vec<_>>(), ["a..b"]);
        assert_eq!(encode_whole(&[]), b"");
    }
}
