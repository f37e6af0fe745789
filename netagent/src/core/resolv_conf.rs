// SPDX-License-Identifier: MIT OR Apache-2.0
//! Name servers and search list of a resolv.conf(5), as glibc reads it (`res_vinit_1`, resolv/res_init.c).
//!
//! A resolver passes over what it does not understand, so nothing here is an error: the pod works, and so must its guest.

use std::net::{IpAddr, Ipv6Addr};

use super::pod::Dns;

/// What a resolver takes of a resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers and search list. Of several lists the last counts.
    pub dns: Dns,
    /// Lines that no resolver understands.
    pub odd_lines: usize,
}

/// Reads any bytes. Names are as they stand there, bytes that are no UTF-8 replaced: who serves them judges them.
pub fn parse(text: &[u8]) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in text.split(|byte| *byte == b'\n') {
        if conf.take(line).is_none() {
            conf.odd_lines += 1;
        }
    }
    conf
}

impl ResolvConf {
    /// Takes a line; `None` for one that is not understood.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        // Comments begin their line: elsewhere these characters are part of a word.
        if line.starts_with(b"#") || line.starts_with(b";") || line.iter().all(u8::is_ascii_whitespace) {
            return Some(());
        }
        let mut words = line.split(u8::is_ascii_whitespace);
        // A keyword begins its line, too.
        let keyword = words.next()?;
        let mut words = words.filter(|word| !word.is_empty());
        match keyword {
            // What follows the address is passed over.
            b"nameserver" => self.dns.servers.push(address(words.next()?)?),
            b"domain" => self.dns.search = vec![name(words.next()?)],
            b"search" => {
                let names: Vec<String> = words.map(name).collect();
                // Without a name the line says nothing.
                self.dns.search = Some(names).filter(|names| !names.is_empty())?;
            }
            b"options" | b"sortlist" => {}
            _ => return None,
        }
        Some(())
    }
}

/// An address. A link-local one may name its link (RFC 4007, section 11), which is the one that the guest has.
fn address(word: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(word).ok()?;
    match text.split_once('%') {
        Some((address, _)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

fn name(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<String>, Vec<String>, usize) {
        let ResolvConf { dns, odd_lines } = parse(text);
        (dns.servers.iter().map(ToString::to_string).collect(), dns.search, odd_lines)
    }

    #[test]
    fn a_pod_s_own() {
        let text = b"# by kubelet\nsearch a.svc b.svc\nnameserver 10.96.0.10\nnameserver fd00::a\noptions ndots:5\n\n";
        let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(read(text), (of(&["10.96.0.10", "fd00::a"]), of(&["a.svc", "b.svc"]), 0));
        assert_eq!(read(b""), (vec![], vec![], 0));
    }

    #[test]
    fn what_a_resolver_passes_over_is_passed_over() {
        let text =
            b"nameserver 10.0.0.1 and more\nsortlist 10.0.0.0\nnameserver none\nnameserver\nnot a word\n \
            nameserver 10.0.0.2\nnameservers 10.0.0.3\n; nameserver 10.0.0.9\nsearch\n\xff\n";
        assert_eq!(read(text), (vec!["10.0.0.1".into()], vec![], 7));
    }

    #[test]
    fn the_last_list_counts_whichever_word_begins_it() {
        assert_eq!(read(b"domain a\nsearch b c\nsearch\n").1, ["b", "c"]);
        assert_eq!(read(b"search b c\ndomain\td e\n").1, ["d"]);
    }

    #[test]
    fn comment_signs_within_a_line_are_part_of_a_word() {
        assert_eq!(read(b"search good a;b c#d last\n").1, ["good", "a;b", "c#d", "last"]);
        assert_eq!(
            read(b"nameserver 10.0.0.1;\nnameserver 10.0.0.2 # mine\n"),
            (vec!["10.0.0.2".into()], vec![], 1)
        );
    }

    #[test]
    fn one_name_that_is_no_text_hides_no_other() {
        assert_eq!(read(b"search a \xff b\r\n").1, ["a", "\u{fffd}", "b"]);
    }

    #[test]
    fn a_link_local_server_is_on_the_guest_s_link() {
        let text = b"nameserver fe80::1%eth0\nnameserver 10.0.0.1%eth0\n";
        assert_eq!(read(text), (vec!["fe80::1".into()], vec![], 1));
    }
}
