// SPDX-License-Identifier: MIT OR Apache-2.0
//! Identities that are parsed once: interface names, MAC addresses, network namespaces, ports.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How much of a text is shown where it is refused, in characters.
const SHOWN: usize = 64;

/// A 48-bit Ethernet address in wire order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether the group bit (IEEE 802, I/G) is clear and the address is not all zero: one station's own address.
    pub fn is_station(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let bad = || IdError::Mac(shown(s));
        let mut out = [0u8; 6];
        let mut parts = s.split(':');
        for byte in &mut out {
            // Rust's own parser would take a sign for a digit.
            let is_pair = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(is_pair).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(out)) }
    }
}

/// An interface name the kernel accepts (`dev_valid_name`, net/core/dev.c): 1 to 15 bytes, no `/`, `:` or white
/// space, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

impl IfName {
    /// A name that core has made of parts of its own, so that no text from outside can be wrong with it.
    pub(super) fn made(name: String) -> Self {
        debug_assert!(name.parse::<Self>().is_ok(), "`{name}`");
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IfName {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let ok = (1..=15).contains(&s.len())
            && s != "."
            && s != ".."
            && s.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':' && b != b'%');
        if ok { Ok(Self(s.to_owned())) } else { Err(IdError::IfName(shown(s))) }
    }
}

/// Identity of a network namespace: device and inode of its nsfs file. Unique among living namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetnsId {
    /// `st_dev` of the nsfs file.
    pub dev: u64,
    /// `st_ino` of the nsfs file, the number that `lsns` and `ls -L /proc/PID/ns/net` show.
    pub ino: u64,
}

/// Name of a port: the inode of its network namespace and its pod link, as in `4026532281-eth0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// Inode of the network namespace.
    pub netns_ino: u64,
    /// The interface that the CNI put into the namespace.
    pub pod_link: IfName,
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.netns_ino, self.pod_link)
    }
}

impl FromStr for PortId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let bad = || IdError::PortId(shown(s));
        let (ino, link) = s.split_once('-').ok_or_else(bad)?;
        if !ino.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        Ok(Self { netns_ino: ino.parse().map_err(|_| bad())?, pod_link: link.parse().map_err(|_| bad())? })
    }
}

/// What somebody else wrote, fit for a line of a log: an error of this module is whole on one line, and short.
fn shown(text: &str) -> String {
    text.escape_debug().take(SHOWN).collect()
}

/// Serializes as the text form.
macro_rules! serde_as_text {
    ($($t:ty),*) => {$(
        impl Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(MacAddr, IfName, PortId);

/// A text that is not the identity it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not six hexadecimal pairs.
    #[error("`{0}` is not a MAC address: expected six hexadecimal pairs as in 52:54:00:12:34:56")]
    Mac(String),
    /// Not a name the kernel takes.
    #[error("`{0}` is not an interface name: expected 1 to 15 printable characters without `/`, `:` or `%`")]
    IfName(String),
    /// Not a port's name.
    #[error("`{0}` is not a port id: expected the namespace's inode and the pod link, as in 4026532281-eth0")]
    PortId(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_round_trips_and_refuses_what_is_not_one() {
        let mac: MacAddr = "52:54:00:0a:Bc:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:0a:bc:ff");
        for bad in [
            "",
            "52:54:00:0a:bc",
            "52:54:00:0a:bc:ff:00",
            "5:54:00:0a:bc:ff",
            "zz:54:00:0a:bc:ff",
            "+2:54:00:0a:bc:ff",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
        assert!(mac.is_station());
        assert!(!MacAddr([0xff; 6]).is_station() && !MacAddr([0; 6]).is_station());
    }

    #[test]
    fn ifname_follows_the_kernel() {
        for good in ["eth0", "a", "tap37a8eec1ce1", "pod37a8eec1ce1x"] {
            assert!(good.parse::<IfName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:1", "a b", "sixteen-chars-xx", "tap%d"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn port_id_keeps_dashes_of_the_link() {
        let id: PortId = "4026532281-eth0-nic".parse().unwrap();
        assert_eq!((id.netns_ino, id.pod_link.as_str()), (4026532281, "eth0-nic"));
        assert_eq!(id.to_string(), "4026532281-eth0-nic");
        for bad in ["eth0", "-eth0", "+5-eth0", "5-", "5-a/b", "99999999999999999999-eth0"] {
            assert!(bad.parse::<PortId>().is_err(), "{bad}");
        }
    }
}
