// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names in options: which of them go where, and the search list's wire form (RFC 3397).

use super::lease::Lease;
use crate::dhcp::names::{self, MAX_LABEL, NameDefect, NameUse, UnusableName, check, put_label};

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
    found.extend(names::unusable_search(&lease.search));
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
            put_label(&mut out, label);
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
    names::search(&lease.search).into_iter()
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
