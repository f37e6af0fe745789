// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator lays over what the pod itself says, in what the guest is told.

use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

/// How long a lease may last, in seconds. Shorter ones would spend a guest's day on renewing; longer ones would never
/// bring it a change.
pub const LEASE_SECONDS: RangeInclusive<u32> = 60..=31_536_000;
/// Leases of this many seconds are renewed after two and a half minutes: that is how late a change can reach the guest.
pub const SHORT_RENEW_SECONDS: u32 = 300;
/// Name servers, and NTP servers, that a guest is told: more than glibc uses (`MAXNS`, resolv.h), and each costs room in
/// every answer.
pub const MAX_SERVERS: usize = 8;
/// As many search domains as Kubernetes allows a pod.
pub const MAX_SEARCH: usize = 32;
/// Codes of options for private use (RFC 3942).
pub const PRIVATE_CODES: RangeInclusive<u8> = 224..=254;
/// Four parts of a split option (RFC 3396): more has no place in an Ethernet frame beside the rest.
pub const MAX_PRIVATE_BYTES: usize = 4 * 255;

/// The least MTU of a link that carries IPv4 (RFC 791), and IPv6 (RFC 8200, 5).
const MIN_MTU: u32 = 68;
const MIN_MTU_IPV6: u32 = 1280;
/// What one DHCP option holds.
const MAX_TEXT: usize = 255;

/// Overrides and additions for one port's hand-off. What is empty or absent leaves the pod's own word.
///
/// Names are judged where they are served: an odd one is left out there and told of, and the rest is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandOff {
    /// Nothing is handed off: the guest brings its own configuration, or asks the DHCP servers and routers of the
    /// network behind the pod link.
    pub off: bool,
    /// Name servers of both families in place of the pod's.
    pub dns: Vec<IpAddr>,
    /// Search list in place of the pod's.
    pub search: Vec<String>,
    /// Domain name (DHCPv4 option 15); the longest usable search domain when not given.
    pub domain: Option<String>,
    /// NTP servers (DHCPv4 option 42, DHCPv6 option 56).
    pub ntp: Vec<IpAddr>,
    /// MTU in bytes that the guest is told: the pod link's or less.
    pub mtu: Option<u32>,
    /// TFTP server name (DHCPv4 option 66).
    pub tftp_server: Option<String>,
    /// Boot file name (DHCPv4 option 67).
    pub boot_file: Option<String>,
    /// DHCPv4 options for private use, 224 to 254 (RFC 3942), as bytes.
    pub private_options: BTreeMap<u8, Vec<u8>>,
    /// How long leases last, in seconds; the agent's `lease_seconds` when not given.
    pub lease_seconds: Option<u32>,
}

/// Something that cannot be laid over the pod's word.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOffError {
    /// A lease time out of bounds.
    #[error(
        "leases of {0} seconds: they last {min} to {max}",
        min = LEASE_SECONDS.start(),
        max = LEASE_SECONDS.end()
    )]
    LeaseSeconds(u32),
    /// A list that is too long.
    #[error("{have} {what}: a guest is told at most {room}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many were given.
        have: usize,
        /// How many there may be.
        room: usize,
    },
    /// An MTU that no link of the guest's families can have.
    #[error("mtu {mtu} for the guest: {family} needs {least}")]
    MtuTooSmall {
        /// What was asked for, in bytes.
        mtu: u32,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// What that needs, in bytes.
        least: u32,
    },
    /// Frames of this size would not leave the pod.
    #[error("mtu {mtu} for the guest: the pod link's is {link}, and frames beyond it do not leave the pod")]
    MtuTooLarge {
        /// What was asked for, in bytes.
        mtu: u32,
        /// The pod link's, in bytes.
        link: u32,
    },
    /// A text that no option holds.
    #[error("the {what} has {have} bytes: it must have 1 to 255, none of them NUL")]
    Text {
        /// What it is for.
        what: &'static str,
        /// Its length.
        have: usize,
    },
    /// An option that is not for private use.
    #[error(
        "option {0} is not for private use: those have the codes {min} to {max}",
        min = PRIVATE_CODES.start(),
        max = PRIVATE_CODES.end()
    )]
    PrivateCode(u32),
    /// An option of an impossible length.
    #[error("option {code} has {have} bytes: it must have 1 to {MAX_PRIVATE_BYTES}")]
    PrivateLength {
        /// Its code.
        code: u8,
        /// Its length.
        have: usize,
    },
    /// An option that is given more than once.
    #[error("option {0} is given twice")]
    PrivateTwice(u8),
    /// No option in writing.
    #[error("`{0}` is no option; give it as 224=TEXT or 224=0xBYTES")]
    PrivateSyntax(String),
}

impl HandOff {
    /// Checks what can be told without the pod.
    ///
    /// # Errors
    /// The first thing that cannot be served.
    pub fn check(&self) -> Result<(), HandOffError> {
        if let Some(seconds) = self.lease_seconds.filter(|seconds| !LEASE_SECONDS.contains(seconds)) {
            return Err(HandOffError::LeaseSeconds(seconds));
        }
        if let Some(mtu) = self.mtu.filter(|mtu| *mtu < MIN_MTU) {
            return Err(HandOffError::MtuTooSmall { mtu, family: "IPv4", least: MIN_MTU });
        }
        for (what, have, room) in [
            ("name servers", self.dns.len(), MAX_SERVERS),
            ("NTP servers", self.ntp.len(), MAX_SERVERS),
            ("search domains", self.search.len(), MAX_SEARCH),
        ] {
            if have > room {
                return Err(HandOffError::TooMany { what, have, room });
            }
        }
        for (what, text) in [("TFTP server name", &self.tftp_server), ("boot file name", &self.boot_file)] {
            if let Some(text) = text
                && (!(1..=MAX_TEXT).contains(&text.len()) || text.contains('\0'))
            {
                return Err(HandOffError::Text { what, have: text.len() });
            }
        }
        for (code, value) in &self.private_options {
            if !PRIVATE_CODES.contains(code) {
                return Err(HandOffError::PrivateCode((*code).into()));
            }
            if !(1..=MAX_PRIVATE_BYTES).contains(&value.len()) {
                return Err(HandOffError::PrivateLength { code: *code, have: value.len() });
            }
        }
        Ok(())
    }

    /// Checks the MTU against the pod's link, in bytes.
    ///
    /// # Errors
    /// When frames of that size do not leave the pod, or IPv6 does not work with it.
    pub fn check_link(&self, link: u32, has_ipv6: bool) -> Result<(), HandOffError> {
        match self.mtu {
            Some(mtu) if mtu > link => Err(HandOffError::MtuTooLarge { mtu, link }),
            Some(mtu) if has_ipv6 && mtu < MIN_MTU_IPV6 => {
                Err(HandOffError::MtuTooSmall { mtu, family: "IPv6", least: MIN_MTU_IPV6 })
            }
            _ => Ok(()),
        }
    }

    /// The MTU that the guest is told on a link with this one, in bytes. A link that became smaller since, or an IPv6
    /// address that came, bends what was asked for: a running guest must not lose its network over it.
    pub fn mtu_on(&self, link: u32, has_ipv6: bool) -> u32 {
        let least = if has_ipv6 { MIN_MTU_IPV6 } else { MIN_MTU };
        self.mtu.map_or(link, |mtu| mtu.max(least).min(link))
    }

    /// Whether nothing of the pod's resolv.conf reaches the guest.
    pub fn replaces_dns(&self) -> bool {
        !self.dns.is_empty() && !self.search.is_empty()
    }

    /// How long this port's leases last, where the agent's last for `agents`.
    pub fn lease_time(&self, agents: Duration) -> Duration {
        self.lease_seconds.map_or(agents, |seconds| Duration::from_secs(seconds.into()))
    }
}

/// Reads an option for private use as people write it: `CODE=TEXT`, or `CODE=0xBYTES`.
///
/// # Errors
/// When it is not written so, or cannot be served.
pub fn private_option(text: &str) -> Result<(u8, Vec<u8>), HandOffError> {
    let syntax = || HandOffError::PrivateSyntax(text.to_owned());
    let (code, value) = text.split_once('=').ok_or_else(syntax)?;
    let code: u32 = code.parse().map_err(|_| syntax())?;
    let code = u8::try_from(code)
        .ok()
        .filter(|code| PRIVATE_CODES.contains(code))
        .ok_or(HandOffError::PrivateCode(code))?;
    let value = match value.strip_prefix("0x") {
        Some(digits) => from_hex(digits).ok_or_else(syntax)?,
        None => value.as_bytes().to_vec(),
    };
    if !(1..=MAX_PRIVATE_BYTES).contains(&value.len()) {
        return Err(HandOffError::PrivateLength { code, have: value.len() });
    }
    Ok((code, value))
}

/// Bytes as [`private_option`] reads them.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_laid_over_is_sound_and_changes_nothing() {
        let none = HandOff::default();
        assert_eq!((none.check(), none.check_link(1500, true)), (Ok(()), Ok(())));
        assert_eq!(none.mtu_on(1500, true), 1500);
        assert_eq!(none.lease_time(Duration::from_secs(7)), Duration::from_secs(7));
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        let base = HandOff::default;
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let option = |code, len| BTreeMap::from([(code, vec![1; len])]);
        for (expected, hand_off) in [
            ("leases of 59 seconds", HandOff { lease_seconds: Some(59), ..base() }),
            ("leases of 31536001 seconds", HandOff { lease_seconds: Some(31_536_001), ..base() }),
            ("mtu 67", HandOff { mtu: Some(67), ..base() }),
            ("9 name servers", HandOff { dns: vec![address; 9], ..base() }),
            ("9 NTP servers", HandOff { ntp: vec![address; 9], ..base() }),
            ("33 search domains", HandOff { search: vec!["a".into(); 33], ..base() }),
            ("TFTP server name has 0", HandOff { tftp_server: Some(String::new()), ..base() }),
            ("boot file name has 256", HandOff { boot_file: Some("x".repeat(256)), ..base() }),
            ("boot file name has 3", HandOff { boot_file: Some("a\0b".into()), ..base() }),
            ("option 223 is not", HandOff { private_options: option(223, 1), ..base() }),
            ("option 255 is not", HandOff { private_options: option(255, 1), ..base() }),
            ("option 224 has 0", HandOff { private_options: option(224, 0), ..base() }),
            ("option 254 has 1021", HandOff { private_options: option(254, 1021), ..base() }),
        ] {
            let error = hand_off.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
        let most = HandOff {
            lease_seconds: Some(60),
            mtu: Some(68),
            dns: vec![address; 8],
            // Names are not judged here.
            search: vec!["not a name".into(); 32],
            boot_file: Some("x".repeat(255)),
            private_options: option(254, 1020),
            ..base()
        };
        assert_eq!(most.check(), Ok(()));
    }

    #[test]
    fn the_mtu_fits_the_link_and_its_families() {
        let told = |mtu| HandOff { mtu: Some(mtu), ..HandOff::default() };
        assert_eq!(
            told(1501).check_link(1500, false),
            Err(HandOffError::MtuTooLarge { mtu: 1501, link: 1500 })
        );
        assert_eq!(told(1500).check_link(1500, true), Ok(()));
        assert_eq!(told(1279).check_link(1500, false), Ok(()));
        assert!(told(1279).check_link(1500, true).unwrap_err().to_string().contains("IPv6 needs 1280"));
        // What changes under a running guest bends it.
        assert_eq!(told(1450).mtu_on(1400, false), 1400);
        assert_eq!(told(600).mtu_on(1500, true), 1280);
        assert_eq!(told(600).mtu_on(1200, true), 1200);
        assert_eq!(told(600).mtu_on(1500, false), 600);
    }

    #[test]
    fn an_option_is_written_as_text_or_as_bytes() {
        assert_eq!(private_option("224=a=b").unwrap(), (224, b"a=b".to_vec()));
        assert_eq!(private_option("254=0x00fF").unwrap(), (254, vec![0, 0xff]));
        assert_eq!(to_hex(&[0, 0xff]), "0x00ff");
        for (text, expected) in [
            ("224", "is no option"),
            ("x=1", "is no option"),
            ("224=0x123", "is no option"),
            ("224=0x+1", "is no option"),
            ("223=x", "option 223 is not"),
            ("480=x", "option 480 is not"),
            ("224=", "option 224 has 0"),
            ("224=0x", "option 224 has 0"),
        ] {
            let error = private_option(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn survives_its_file() {
        let kept = HandOff {
            dns: vec!["fd00::a".parse().unwrap()],
            private_options: BTreeMap::from([(224, vec![0, 255])]),
            ..HandOff::default()
        };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<HandOff>(&text).unwrap(), kept);
        assert_eq!(serde_json::from_str::<HandOff>("{}").unwrap(), HandOff::default());
    }
}
