// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names in options: which of the pod's names a guest can be given, and the search list's wire form (RFC 3397).

use std::fmt;

use super::lease::Lease;

/// A label's length (RFC 1035, 2.3.4); option 12 is held to it as well.
const MAX_LABEL: usize = 63;
/// A name's length as text, so that it has at most 255 bytes on the wire (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
/// As many search domains as Kubernetes allows a pod. It also bounds the work per reply.
const MAX_SEARCH: usize = 32;

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
    /// It comes after 32 others.
    TooMany,
}

impl fmt::Display for NameDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it has more than 253 characters",
            Self::LabelLength => "a label is empty or has more than 63 characters",
            Self::Character => {
                "a label has a character other than letters, digits, `-` and `_`, or begins or ends with `-`"
            }
            Self::TooMany => "32 search domains come before it",
        })
    }
}

/// See [`Lease::unusable_names`].
pub(super) fn unusable(lease: &Lease) -> Vec<UnusableName> {
    let report = |usage, name: &str, defect| UnusableName { usage, name: name.to_owned(), defect };
    let mut found = Vec::new();
    if let Some(name) = &lease.hostname
        && let Err(defect) = check_hostname(name)
    {
        found.push(report(NameUse::Hostname, name, defect));
    }
    if let Some(name) = &lease.domain
        && let Err(defect) = check(name)
    {
        found.push(report(NameUse::Domain, name, defect));
    }
    let search = checked_search(lease);
    found.extend(search.filter_map(|(name, checked)| {
        checked.err().map(|defect| report(NameUse::SearchDomain, name, defect))
    }));
    found
}

/// The value of option 12: the hostname, cut to 63 characters where a label ends, within one only if need be.
pub(super) fn hostname(lease: &Lease) -> Option<&str> {
    lease.hostname.as_deref().and_then(|name| check_hostname(name).ok())
}

/// The value of option 15.
pub(super) fn domain(lease: &Lease) -> Option<&str> {
    let own = lease.domain.as_deref().and_then(|name| check(name).ok());
    // The first of the longest: `max_by_key` would give the last.
    own.or_else(|| search(lease).rev().max_by_key(|name| name.len()))
}

/// The value of option 119, empty without a usable domain.
///
/// A name's tail that stands there already is a pointer to it; offsets count from the beginning of the value, parts
/// of a split option taken together (RFC 3397, section 2).
pub(super) fn encode_search(lease: &Lease) -> Vec<u8> {
    let mut out = Vec::new();
    let mut tails: Vec<(&str, u16)> = Vec::new();
    for name in search(lease) {
        let mut tail = name;
        loop {
            if let Some((_, offset)) = tails.iter().find(|(known, _)| known.eq_ignore_ascii_case(tail)) {
                out.extend((POINTER | offset).to_be_bytes());
                break;
            }
            // `MAX_SEARCH` names of 255 bytes stay below the 14 bits of an offset.
            if let Ok(offset) = u16::try_from(out.len()) {
                tails.push((tail, offset));
            }
            let (label, rest) = tail.split_once('.').unwrap_or((tail, ""));
            // At most `MAX_LABEL`, see `check`.
            out.push(label.len() as u8);
            out.extend(label.as_bytes());
            if rest.is_empty() {
                out.push(0);
                break;
            }
            tail = rest;
        }
    }
    out
}

/// The two bits that make a pointer of what would be a label's length (RFC 1035, 4.1.4).
const POINTER: u16 = 0xc000;

/// Usable search domains without trailing dot, in order, each once.
fn search(lease: &Lease) -> impl DoubleEndedIterator<Item = &str> {
    let mut names: Vec<&str> = Vec::new();
    for name in checked_search(lease).filter_map(|(_, checked)| checked.ok()) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    names.into_iter()
}

/// Each search domain as the pod has it, and as a guest may get it.
fn checked_search(lease: &Lease) -> impl Iterator<Item = (&str, Result<&str, NameDefect>)> {
    lease.search.iter().enumerate().map(|(place, name)| {
        (name.as_str(), if place < MAX_SEARCH { check(name) } else { Err(NameDefect::TooMany) })
    })
}

fn check_hostname(name: &str) -> Result<&str, NameDefect> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let cut = match name.split_at_checked(MAX_LABEL) {
        // Nothing to cut, or no ASCII: `check` says what it is.
        None => name,
        Some((head, rest)) => match head.rsplit_once('.') {
            _ if rest.is_empty() || rest.starts_with('.') => head,
            Some((labels, _)) => labels,
            None => head.trim_end_matches('-'),
        },
    };
    check(cut)
}

/// The name without a trailing dot, if every client takes it.
fn check(name: &str) -> Result<&str, NameDefect> {
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
        if !known || label.starts_with('-') || label.ends_with('-') {
            return Err(NameDefect::Character);
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::v4::tests::lease;

    fn with_search(names: &[&str]) -> Lease {
        Lease { search: names.iter().map(|&n| n.to_owned()).collect(), domain: None, ..lease() }
    }

    /// The example of RFC 3397, section 2, its three parts put together.
    #[test]
    fn rfc_3397_example() {
        let got = encode_search(&with_search(&["eng.apple.com.", "marketing.apple.com."]));
        assert_eq!(got, b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04");
    }

    #[test]
    fn a_pods_search_list_shares_its_tails() {
        let names = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan"];
        let got = encode_search(&with_search(&names));
        assert_eq!(got, b"\x07default\x03svc\x07cluster\x05local\x00\xc0\x08\xc0\x0c\x03lan\x00");
    }

    #[test]
    fn odd_search_domains_are_left_out_and_reported() {
        let long_label = "a".repeat(64);
        let long_name = ["b"; 127].join(".") + ".cc";
        let odd =
            ["", ".", "a..b", &long_label, &long_name, "exa mple.com", "münchen.de", "-a.b", "a-.b", "$(x)"];
        let mut names = odd.to_vec();
        names.push("ok_1.example");
        let lease = with_search(&names);
        assert_eq!(encode_search(&lease), b"\x04ok_1\x07example\x00");
        use NameDefect::{Character, Empty, LabelLength, TooLong};
        let defects: Vec<_> = lease.unusable_names().into_iter().map(|u| u.defect).collect();
        assert_eq!(
            defects,
            [
                Empty,
                Empty,
                LabelLength,
                LabelLength,
                TooLong,
                Character,
                Character,
                Character,
                Character,
                Character
            ]
        );
        assert_eq!(
            lease.unusable_names()[2].to_string(),
            "search domain \"a..b\" is left out of DHCP replies: a label is empty or has more than 63 characters"
        );
    }

    #[test]
    fn search_domains_beyond_the_bound_are_reported() {
        let names: Vec<String> = (0..40).map(|i| format!("d{i}.example")).collect();
        let lease = Lease { search: names, ..lease() };
        assert_eq!(search(&lease).count(), 32);
        let unusable = lease.unusable_names();
        assert_eq!(unusable.len(), 8);
        assert!(unusable.iter().all(|u| u.defect == NameDefect::TooMany));
    }

    #[test]
    fn the_longest_name_just_fits() {
        // 253 characters: 63.63.63.61
        let name = [63, 63, 63, 61].map(|n| "x".repeat(n)).join(".");
        assert_eq!(encode_search(&with_search(&[&name])).len(), 255);
        assert_eq!(check(&format!("{name}y")), Err(NameDefect::TooLong));
    }

    #[test]
    fn domain_is_given_or_the_longest_search_domain() {
        let mut lease = with_search(&["lan", "one.example", "two.example", "a..b.and.this.is.the.longest"]);
        assert_eq!(domain(&lease), Some("one.example"));
        lease.domain = Some("given.test.".into());
        assert_eq!(domain(&lease), Some("given.test"));
        lease.domain = Some("bad domain".into());
        assert_eq!(domain(&lease), Some("one.example"));
        assert_eq!(domain(&with_search(&[])), None);
    }

    #[test]
    fn hostname_is_cut_to_63_at_a_label() {
        let cut = |name: &str| hostname(&Lease { hostname: Some(name.into()), ..lease() }).map(str::to_owned);
        let x = |n| "x".repeat(n);
        assert_eq!(cut("vm-1"), Some("vm-1".into()));
        assert_eq!(cut("vm-1.ns.svc."), Some("vm-1.ns.svc".into()));
        assert_eq!(cut(&x(63)), Some(x(63)));
        assert_eq!(cut(&x(70)), Some(x(63)));
        assert_eq!(cut(&format!("{}-{}", x(62), x(5))), Some(x(62)));
        assert_eq!(cut(&format!("vm.{}.{}", x(30), x(40))), Some(format!("vm.{}", x(30))));
        assert_eq!(cut(&format!("{}.lan", x(63))), Some(x(63)));
        assert_eq!(cut("bad name"), None);
        assert_eq!(cut(&"ü".repeat(40)), None);
        assert_eq!(cut(""), None);
    }
}
