// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a DHCPv6 message and of an association in it: one level at a time, never by recursion
//! (RFC 8415, 21.1).

use super::outcome::Silence;

pub(super) const CLIENT_ID: u16 = 1;
pub(super) const SERVER_ID: u16 = 2;
pub(super) const IA_NA: u16 = 3;
pub(super) const IA_TA: u16 = 4;
pub(super) const IA_ADDRESS: u16 = 5;
pub(super) const OPTION_REQUEST: u16 = 6;
pub(super) const PREFERENCE: u16 = 7;
pub(super) const STATUS_CODE: u16 = 13;
pub(super) const RAPID_COMMIT: u16 = 14;
pub(super) const DNS_SERVERS: u16 = 23;
pub(super) const DOMAIN_SEARCH: u16 = 24;
pub(super) const IA_PD: u16 = 25;
pub(super) const INFORMATION_REFRESH_TIME: u16 = 32;
pub(super) const NTP_SERVER: u16 = 56;

/// Code and length in front of a value.
const HEAD_LEN: usize = 4;

/// Received options of one level, each of which ends within it. Values are looked at only when asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// Options that fill `area`.
    pub(super) fn parse(area: &'a [u8]) -> Result<Self, Silence> {
        let mut walk = Walk(area);
        walk.by_ref().for_each(drop);
        if walk.0.is_empty() { Ok(Self(area)) } else { Err(Silence::BadOption) }
    }

    /// All options in their order.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        Walk(self.0)
    }

    /// The values of an option, which may stand there repeatedly.
    pub(super) fn all(self, code: u16) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(known, _)| *known == code).map(|(_, value)| value)
    }

    /// The value of an option that stands there once; of more the first.
    pub(super) fn get(self, code: u16) -> Option<&'a [u8]> {
        self.all(code).next()
    }
}

/// Walks one level. Ends where no whole option is left.
struct Walk<'a>(&'a [u8]);

impl<'a> Iterator for Walk<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[code_high, code_low, len_high, len_low], rest) = self.0.split_first_chunk::<HEAD_LEN>()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([len_high, len_low]).into())?;
        self.0 = rest;
        Some((u16::from_be_bytes([code_high, code_low]), value))
    }
}

/// Options being written into a bounded space: one that does not fit is left out whole, and noted.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    space: usize,
    left_out: Vec<u16>,
}

impl Writer {
    /// Room for as many bytes after `head`.
    pub(super) fn new(head: Vec<u8>, space: usize) -> Self {
        Self { bytes: head, space, left_out: Vec::new() }
    }

    /// Appends an option, or notes that it did not fit.
    pub(super) fn put(&mut self, code: u16, value: &[u8]) {
        let rest = self.space.checked_sub(HEAD_LEN).and_then(|rest| rest.checked_sub(value.len()));
        let (Some(rest), Ok(len)) = (rest, u16::try_from(value.len())) else {
            self.leave_out(code);
            return;
        };
        self.space = rest;
        self.bytes.extend(code.to_be_bytes());
        self.bytes.extend(len.to_be_bytes());
        self.bytes.extend(value);
    }

    /// Notes an option that is not there, once.
    pub(super) fn leave_out(&mut self, code: u16) {
        if !self.left_out.contains(&code) {
            self.left_out.push(code);
        }
    }

    /// Bytes left for an option's value.
    pub(super) fn space(&self) -> usize {
        self.space.saturating_sub(HEAD_LEN)
    }

    /// What was written, and the codes of what was left out.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<u16>) {
        (self.bytes, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_does_not_end_is_refused() {
        for bad in [&[0][..], &[0, 1, 0], &[0, 1, 0, 1], &[0, 1, 0, 0, 0], &[0, 1, 0xff, 0xff, 7]] {
            assert_eq!(Options::parse(bad).unwrap_err(), Silence::BadOption, "{bad:?}");
        }
    }

    #[test]
    fn options_in_their_order() {
        let options = Options::parse(&[0, 6, 0, 2, 0, 23, 0, 14, 0, 0, 1, 6, 0, 1, 9, 0, 6, 0, 0]).unwrap();
        let all: Vec<_> = options.iter().collect();
        assert_eq!(all, [(6, &[0, 23][..]), (14, &[]), (262, &[9]), (6, &[])]);
        assert_eq!(options.get(RAPID_COMMIT), Some(&[][..]));
        assert_eq!(options.get(OPTION_REQUEST), Some(&[0, 23][..]));
        assert_eq!(options.all(OPTION_REQUEST).count(), 2);
        assert_eq!(options.get(CLIENT_ID), None);
        assert_eq!(Options::parse(&[]).unwrap().iter().count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let mut writer = Writer::new(vec![1], 13);
        writer.put(CLIENT_ID, &[7; 3]);
        writer.put(SERVER_ID, &[7; 3]);
        assert_eq!(writer.space(), 2);
        writer.put(SERVER_ID, &[7; 3]);
        writer.put(DNS_SERVERS, &[8; 2]);
        writer.put(RAPID_COMMIT, &[]);
        let (bytes, left_out) = writer.finish();
        assert_eq!(bytes, [1, 0, 1, 0, 3, 7, 7, 7, 0, 23, 0, 2, 8, 8]);
        assert_eq!(left_out, [SERVER_ID, RAPID_COMMIT]);
        // More than a length can say.
        let mut writer = Writer::new(vec![], usize::MAX);
        writer.put(CLIENT_ID, &[0; 0x1_0000]);
        assert_eq!(writer.finish(), (vec![], vec![CLIENT_ID]));
    }
}
