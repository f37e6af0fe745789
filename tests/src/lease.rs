// SPDX-License-Identifier: MIT OR Apache-2.0
//! A DHCP lease as a client saw it, from the line that `guest/lease.sh` writes.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;

/// Begins a lease line; the fields follow as `key=value`, separated by `|`.
const MARK: &str = "@lease|";

/// Which client asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DhcpClient {
    /// Busybox's.
    #[default]
    Udhcpc,
    /// ISC's.
    Dhclient,
}

impl DhcpClient {
    /// Its program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udhcpc => "udhcpc",
            Self::Dhclient => "dhclient",
        }
    }
}

impl fmt::Display for DhcpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DhcpClient {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "udhcpc" => Ok(Self::Udhcpc),
            "dhclient" => Ok(Self::Dhclient),
            _ => bail!("`{s}` is not a DHCP client: expected udhcpc or dhclient"),
        }
    }
}

/// One classless static route (RFC 3442).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LeaseRoute {
    /// Destination network.
    pub network: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// Router; 0.0.0.0 stands for "on link".
    pub router: Ipv4Addr,
}

impl fmt::Display for LeaseRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ", self.network, self.prefix)?;
        if self.router.is_unspecified() { f.write_str("on link") } else { write!(f, "via {}", self.router) }
    }
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// Who asked.
    pub client: DhcpClient,
    /// The client's word for what happened: `bound`, `renew`, `BOUND`, `RENEW`, …
    pub event: String,
    /// The leased address.
    pub address: Ipv4Addr,
    /// Prefix length, from option 1.
    pub prefix: u8,
    /// Option 3.
    pub routers: Vec<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Option 119.
    pub search: Vec<String>,
    /// Option 12.
    pub hostname: Option<String>,
    /// Option 26, bytes.
    pub mtu: Option<u32>,
    /// Option 51, seconds.
    pub lease_seconds: Option<u32>,
    /// Option 58, seconds.
    pub renew_seconds: Option<u32>,
    /// Option 59, seconds.
    pub rebind_seconds: Option<u32>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Option 121.
    pub routes: Vec<LeaseRoute>,
}

impl Lease {
    /// The lease in a line of a console or log; nothing if the line is none.
    pub fn from_line(line: &str) -> Option<Result<Self>> {
        line.strip_prefix(MARK).map(|fields| {
            Self::from_fields(fields).with_context(|| format!("cannot read the lease `{fields}`"))
        })
    }

    fn from_fields(fields: &str) -> Result<Self> {
        let get = |key: &str| {
            fields
                .split('|')
                .filter_map(|field| field.split_once('='))
                .find(|(name, value)| *name == key && !value.is_empty())
                .map(|(_, value)| value)
        };
        let client = get("client").ok_or_else(|| anyhow!("no client"))?.parse()?;
        let mask = get("mask").ok_or_else(|| anyhow!("no subnet mask"))?;
        Ok(Self {
            client,
            event: get("event").unwrap_or_default().to_owned(),
            address: get("address").ok_or_else(|| anyhow!("no address"))?.parse().context("address")?,
            prefix: prefix_of(mask)?,
            routers: words(get("routers")).context("routers")?,
            dns: words(get("dns")).context("dns")?,
            domain: get("domain").map(str::to_owned),
            search: get("search").map_or_else(Vec::new, |s| s.split_whitespace().map(host_name).collect()),
            hostname: get("hostname").map(str::to_owned),
            mtu: get("mtu").map(str::parse).transpose().context("mtu")?,
            lease_seconds: get("lease").map(seconds).transpose().context("lease")?,
            renew_seconds: get("renew").map(seconds).transpose().context("renew")?,
            rebind_seconds: get("rebind").map(seconds).transpose().context("rebind")?,
            server: get("server").map(str::parse).transpose().context("server")?,
            routes: routes(get("routes").unwrap_or_default()).context("routes")?,
        })
    }
}

/// Option 119 as dhclient prints it ends every name with a dot.
fn host_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

fn words<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: Option<&str>) -> Result<Vec<T>> {
    text.unwrap_or_default()
        .split_whitespace()
        .map(|word| word.parse().with_context(|| format!("`{word}`")))
        .collect()
}

/// dhclient prints seconds in decimal; udhcpc prints options it has no name for as hexadecimal bytes, marked `0x`.
fn seconds(text: &str) -> Result<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).with_context(|| format!("`{text}`")),
        None => text.parse().with_context(|| format!("`{text}`")),
    }
}

/// `24` (udhcpc) or `255.255.255.0` (dhclient).
fn prefix_of(mask: &str) -> Result<u8> {
    if let Ok(prefix) = mask.parse::<u8>() {
        return Ok(prefix);
    }
    let bits = u32::from(mask.parse::<Ipv4Addr>().with_context(|| format!("subnet mask `{mask}`"))?);
    let prefix = bits.leading_ones();
    if bits.checked_shl(prefix).unwrap_or(0) != 0 {
        bail!("subnet mask `{mask}` has a gap");
    }
    u8::try_from(prefix).context("subnet mask")
}

/// `10.0.0.0/8 10.0.0.1 …` (udhcpc), or the option's bytes in decimal (dhclient).
fn routes(text: &str) -> Result<Vec<LeaseRoute>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if !text.contains('/') {
        let bytes =
            words.iter().map(|w| w.parse().with_context(|| format!("`{w}`"))).collect::<Result<Vec<u8>>>()?;
        return routes_from_bytes(&bytes);
    }
    words
        .chunks(2)
        .map(|pair| match pair {
            [to, router] => {
                let (network, prefix) = to.split_once('/').ok_or_else(|| anyhow!("no prefix in `{to}`"))?;
                Ok(LeaseRoute {
                    network: network.parse().with_context(|| format!("`{network}`"))?,
                    prefix: prefix.parse().with_context(|| format!("`{prefix}`"))?,
                    router: router.parse().with_context(|| format!("`{router}`"))?,
                })
            }
            _ => bail!("a route without a router in `{text}`"),
        })
        .collect()
}

/// RFC 3442: prefix length, the significant octets of the destination, four octets of the router.
fn routes_from_bytes(mut bytes: &[u8]) -> Result<Vec<LeaseRoute>> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = bytes.split_first() {
        let significant = usize::from(prefix.div_ceil(8));
        let mut network = [0u8; 4];
        let cut = || anyhow!("the option ends within a route");
        let (to, rest) = rest.split_at_checked(significant).ok_or_else(cut)?;
        network.get_mut(..significant).ok_or_else(|| anyhow!("prefix length {prefix}"))?.copy_from_slice(to);
        let (router, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        routes.push(LeaseRoute { network: network.into(), prefix, router: (*router).into() });
        bytes = rest;
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_udhcpc_says() {
        let line = "@lease|client=udhcpc|event=bound|address=10.88.0.5|mask=24|routers=10.88.0.1|dns=10.96.0.10 10.96.0.11\
                    |domain=svc|search=a.b c|hostname=vm|mtu=1450|lease=86400|renew=0x0000a8c0|rebind=|server=10.88.0.1\
                    |routes=10.88.0.1/32 0.0.0.0 0.0.0.0/0 10.88.0.1";
        let lease = Lease::from_line(line).unwrap().unwrap();
        assert_eq!(
            (lease.client, lease.address, lease.prefix),
            (DhcpClient::Udhcpc, [10, 88, 0, 5].into(), 24)
        );
        assert_eq!(lease.search, ["a.b", "c"]);
        assert_eq!((lease.mtu, lease.renew_seconds, lease.rebind_seconds), (Some(1450), Some(43200), None));
        let routes: Vec<String> = lease.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.88.0.1/32 on link", "0.0.0.0/0 via 10.88.0.1"]);
    }

    #[test]
    fn reads_what_dhclient_says() {
        let line = "@lease|client=dhclient|event=BOUND|address=10.88.0.5|mask=255.255.255.0|routers=10.88.0.1\
                    |search=a.b. c.|renew=43200|routes=32 10 88 0 1 0 0 0 0 0 10 88 0 1";
        let lease = Lease::from_line(line).unwrap().unwrap();
        assert_eq!((lease.prefix, lease.renew_seconds), (24, Some(43200)));
        assert_eq!(lease.search, ["a.b", "c"]);
        assert_eq!(lease.routes.len(), 2);
        assert_eq!(lease.routes[1].to_string(), "0.0.0.0/0 via 10.88.0.1");
    }

    #[test]
    fn other_lines_are_no_lease_and_broken_ones_are_errors() {
        assert!(Lease::from_line("udhcpc: started").is_none());
        for fields in [
            "client=udhcpc|mask=24",
            "client=dhcpcd|address=10.0.0.1|mask=24",
            "client=udhcpc|address=10.0.0.1|mask=255.0.255.0",
            "client=dhclient|address=10.0.0.1|mask=24|routes=24 10 0",
            "client=dhclient|address=10.0.0.1|mask=24|routes=33 1 2 3 4 5 6 7 8 9",
        ] {
            assert!(Lease::from_line(&format!("@lease|{fields}")).unwrap().is_err(), "{fields}");
        }
    }
}
