// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags for what a guest is told in place of the pod's word, or besides.

use std::{collections::BTreeMap, net::IpAddr};

use clap::Args;

use crate::core::hand_off::{HandOffError, LEASE_SECONDS, SHORT_RENEW_SECONDS, private_option};

#[derive(Debug, Args)]
pub(super) struct HandOffArgs {
    /// Hand nothing off: the guest brings its own configuration, or asks the DHCP servers and routers of the network.
    #[arg(long, help_heading = HEADING)]
    pub(super) no_hand_off: bool,
    /// A name server for the guest [default: the pod's]. Can be given again.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', help_heading = HEADING)]
    pub(super) dns: Vec<IpAddr>,
    /// A search domain for the guest [default: the pod's]. Can be given again.
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = HEADING)]
    pub(super) search: Vec<String>,
    /// The guest's domain name [default: the longest search domain].
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) domain: Option<String>,
    /// An NTP server for the guest. Can be given again.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', help_heading = HEADING)]
    pub(super) ntp: Vec<IpAddr>,
    /// MTU that the guest is told, at most the pod link's [default: the pod link's].
    #[arg(long, value_name = "BYTES", help_heading = HEADING, value_parser = clap::value_parser!(u32).range(68..))]
    pub(super) mtu: Option<u32>,
    /// TFTP server to boot from, as a name or an address.
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) tftp_server: Option<String>,
    /// File to boot.
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) boot_file: Option<String>,
    /// A DHCPv4 option for private use, 224 to 254, as text or 0xBYTES. Can be given again.
    #[arg(long, value_name = "CODE=VALUE", value_parser = private_option, help_heading = HEADING)]
    option: Vec<(u8, Vec<u8>)>,
    #[command(flatten)]
    pub(super) lease: LeaseArgs,
}

const HEADING: &str = "What the guest is told";

impl HandOffArgs {
    /// The options for private use, by their codes.
    pub(super) fn private_options(&self) -> Result<BTreeMap<u32, Vec<u8>>, HandOffError> {
        let mut options = BTreeMap::new();
        for (code, value) in &self.option {
            if options.insert(u32::from(*code), value.clone()).is_some() {
                return Err(HandOffError::PrivateTwice(*code));
            }
        }
        Ok(options)
    }
}

/// How long leases last: of one port, or of all that do not say otherwise.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct LeaseArgs {
    /// How long leases last; a guest hears of changes after half of it [default: the agent's, 86400].
    #[arg(long, value_name = "N", help_heading = HEADING, value_parser = lease_seconds)]
    lease_seconds: Option<u32>,
    /// Leases so short (300 s) that changes reach the guest within minutes.
    #[arg(long, conflicts_with = "lease_seconds", help_heading = HEADING)]
    short_renew: bool,
}

impl LeaseArgs {
    /// The seconds, when anything is said.
    pub(super) fn seconds(self) -> Option<u32> {
        self.lease_seconds.or(self.short_renew.then_some(SHORT_RENEW_SECONDS))
    }
}

fn lease_seconds(text: &str) -> Result<u32, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if LEASE_SECONDS.contains(&seconds) {
        Ok(seconds)
    } else {
        Err(HandOffError::LeaseSeconds(seconds).to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        hand_off: HandOffArgs,
    }

    fn parse(flags: &[&str]) -> Result<HandOffArgs, clap::Error> {
        Alone::try_parse_from([&["x"], flags].concat()).map(|alone| alone.hand_off)
    }

    #[test]
    fn nothing_is_said_by_default() {
        let none = parse(&[]).unwrap();
        assert_eq!(
            (none.mtu, none.lease.seconds(), none.private_options()),
            (None, None, Ok(BTreeMap::new()))
        );
    }

    #[test]
    fn lists_take_commas_and_repetition() {
        let some = parse(&["--dns", "10.0.0.1,fd00::1", "--dns", "10.0.0.2", "--search", "a,b"]).unwrap();
        assert_eq!((some.dns.len(), some.search.len()), (3, 2));
        assert_eq!(parse(&["--dns", "ns1"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn short_renew_is_a_lease_time_and_not_two() {
        assert_eq!(parse(&["--short-renew"]).unwrap().lease.seconds(), Some(300));
        assert_eq!(parse(&["--lease-seconds", "600"]).unwrap().lease.seconds(), Some(600));
        assert!(parse(&["--lease-seconds", "600", "--short-renew"]).is_err());
        let error = parse(&["--lease-seconds", "5"]).unwrap_err().to_string();
        assert!(error.contains("they last 60 to 31536000"), "{error}");
    }

    #[test]
    fn an_option_may_hold_a_comma_and_stand_there_once() {
        let options =
            parse(&["--option", "224=a,b", "--option", "225=0x00"]).unwrap().private_options().unwrap();
        assert_eq!(options, BTreeMap::from([(224, b"a,b".to_vec()), (225, vec![0])]));
        let twice = parse(&["--option", "224=a", "--option", "224=b"]).unwrap();
        assert_eq!(twice.private_options(), Err(HandOffError::PrivateTwice(224)));
        let error = parse(&["--option", "43=a"]).unwrap_err().to_string();
        assert!(error.contains("option 43 is not for private use"), "{error}");
    }
}
