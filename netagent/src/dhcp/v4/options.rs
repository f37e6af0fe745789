// SPDX-License-Identifier: MIT OR Apache-2.0
//! The option fields of a DHCP message: a tolerant reader and a writer (RFC 2131, 4.1; RFC 3396).

use super::routes;

pub(super) const SUBNET_MASK: u8 = 1;
pub(super) const ROUTER: u8 = 3;
pub(super) const DNS_SERVERS: u8 = 6;
pub(super) const HOSTNAME: u8 = 12;
pub(super) const DOMAIN_NAME: u8 = 15;
pub(super) const INTERFACE_MTU: u8 = 26;
pub(super) const BROADCAST_ADDRESS: u8 = 28;
pub(super) const NTP_SERVERS: u8 = 42;
pub(super) const REQUESTED_ADDRESS: u8 = 50;
pub(super) const LEASE_TIME: u8 = 51;
pub(super) const OVERLOAD: u8 = 52;
pub(super) const MESSAGE_TYPE: u8 = 53;
pub(super) const SERVER_ID: u8 = 54;
pub(super) const PARAMETER_REQUEST_LIST: u8 = 55;
pub(super) const MESSAGE: u8 = 56;
pub(super) const MAX_MESSAGE_SIZE: u8 = 57;
pub(super) const RENEWAL_TIME: u8 = 58;
pub(super) const REBINDING_TIME: u8 = 59;
pub(super) const CLIENT_ID: u8 = 61;
pub(super) const TFTP_SERVER: u8 = 66;
pub(super) const BOOT_FILE: u8 = 67;
pub(super) const DOMAIN_SEARCH: u8 = 119;
pub(super) const CLASSLESS_ROUTES: u8 = 121;
/// Option 121 under the code by which Windows before Vista asks for it.
pub(super) const MS_CLASSLESS_ROUTES: u8 = 249;

const PAD: u8 = 0;
pub(super) const END: u8 = 255;
const MAX_VALUE: usize = 255;

/// The options of a received message. Values are looked at only when asked for: an option that nobody can decode
/// hides none of the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    /// The options field, then `file` and `sname` where overloaded: the order of RFC 3396, section 5.
    areas: [&'a [u8]; 3],
}

impl<'a> Options<'a> {
    /// Options of a message with these fields; `file` and `sname` count where option 52 says so.
    pub(super) fn new(options: &'a [u8], file: &'a [u8], sname: &'a [u8]) -> Self {
        let overload = match Walk(options).find(|(code, _)| *code == OVERLOAD) {
            Some((_, [flags])) => *flags,
            _ => 0,
        };
        let when = |bit: u8, area: &'a [u8]| if overload & bit != 0 { area } else { &[] };
        Self { areas: [options, when(1, file), when(2, sname)] }
    }

    /// Value of an option; the values of one that stands there repeatedly are concatenated (RFC 3396).
    pub(super) fn get(&self, code: u8) -> Option<Vec<u8>> {
        let mut found = self.iter().filter(|(c, _)| *c == code).map(|(_, value)| value);
        let mut whole = found.next()?.to_vec();
        whole.extend(found.flatten());
        Some(whole)
    }

    /// All options as they stand there, unconcatenated.
    fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        self.areas.into_iter().flat_map(Walk)
    }
}

/// Walks one area. Ends at option 255, at the area's end, and at an option that claims more than is left;
/// not to be asked again after its end.
struct Walk<'a>(&'a [u8]);

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&code, rest) = self.0.split_first()?;
            self.0 = rest;
            match code {
                PAD => {}
                END => return None,
                _ => {
                    let (&len, rest) = self.0.split_first()?;
                    let (value, rest) = rest.split_at_checked(len.into())?;
                    self.0 = rest;
                    return Some((code, value));
                }
            }
        }
    }
}

/// Appends an option, in as many parts of at most 255 bytes as it takes (RFC 3396). Without a value it appends
/// nothing: a zero-length option means nothing to a client, or breaks it.
pub(super) fn put(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    for part in parts(code, value) {
        // At most `MAX_VALUE`, so nothing is cut off.
        out.extend([code, part.len() as u8]);
        out.extend(part);
    }
}

/// How many bytes [`put`] appends.
pub(super) fn put_len(code: u8, value: &[u8]) -> usize {
    value.len().saturating_add(parts(code, value).count().saturating_mul(2))
}

/// Routes stay whole: any byte will do for a client that puts the parts together, but systemd-networkd reads each by
/// itself, and its routes would end with the first part.
fn parts(code: u8, value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let len = match code {
            CLASSLESS_ROUTES | MS_CLASSLESS_ROUTES => routes::whole_within(rest, MAX_VALUE),
            _ => MAX_VALUE,
        };
        let (part, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_options_concatenate_over_all_areas() {
        let options = [OVERLOAD, 1, 3, 55, 2, 1, 3, 0, 0, 55, 1, 6, 255, 55, 1, 99];
        let file = [55, 1, 15, 255];
        let sname = [0, 55, 2, 119, 121];
        let got = Options::new(&options, &file, &sname).get(55).unwrap();
        // What stands after the end option (99) does not count.
        assert_eq!(got, [1, 3, 6, 15, 119, 121]);
    }

    #[test]
    fn file_and_sname_count_only_when_overloaded() {
        let file = [MESSAGE_TYPE, 1, 1];
        assert_eq!(Options::new(&[], &file, &file).get(MESSAGE_TYPE), None);
        assert_eq!(Options::new(&[52, 1, 1], &file, &[53, 1, 3]).get(MESSAGE_TYPE), Some(vec![1]));
        assert_eq!(Options::new(&[52, 1, 2], &file, &[53, 1, 3]).get(MESSAGE_TYPE), Some(vec![3]));
    }

    #[test]
    fn a_length_beyond_the_end_ends_the_walk_and_keeps_what_came_before() {
        let options = Options::new(&[53, 1, 3, 12, 200, b'x'], &[], &[]);
        assert_eq!(options.get(53), Some(vec![3]));
        assert_eq!(options.get(12), None);
        assert_eq!(Options::new(&[53], &[], &[]).get(53), None);
    }

    #[test]
    fn an_undecodable_option_hides_nothing() {
        // A hostname that is no UTF-8 and an option 81 that is too short: dhcproto 0.15 stops at the first.
        let options = Options::new(&[12, 2, 0xff, 0xfe, 81, 1, 0, 53, 1, 1, 255], &[], &[]);
        assert_eq!(options.get(53), Some(vec![1]));
    }

    #[test]
    fn long_values_are_split_and_come_back() {
        for len in [0usize, 1, 255, 256, 510, 600] {
            let value: Vec<u8> = (0..len).map(|i| i as u8).collect();
            for code in [DOMAIN_SEARCH, CLASSLESS_ROUTES] {
                let mut out = Vec::new();
                put(&mut out, code, &value);
                assert_eq!(out.len(), put_len(code, &value), "{len}");
                let back = Options::new(&out, &[], &[]).get(code);
                assert_eq!(back, (len > 0).then(|| value.clone()), "{len}");
            }
        }
    }

    #[test]
    fn each_part_of_many_routes_is_routes() {
        // 9 bytes each: 28 have a place in one part.
        let value: Vec<u8> = (0..60).flat_map(|n| [32, 192, 0, 2, n, 10, 0, 0, 1]).collect();
        for code in [CLASSLESS_ROUTES, MS_CLASSLESS_ROUTES] {
            let lens: Vec<usize> = parts(code, &value).map(<[u8]>::len).collect();
            assert_eq!(lens, [252, 252, 36]);
        }
        assert_eq!(parts(DOMAIN_SEARCH, &value).map(<[u8]>::len).collect::<Vec<_>>(), [255, 255, 30]);
    }
}
