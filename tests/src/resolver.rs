// SPDX-License-Identifier: MIT OR Apache-2.0
//! Name servers and search list, as a resolver takes them from resolv.conf.

use std::{fmt, net::IpAddr};

/// What a resolver is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// In their order.
    pub servers: Vec<IpAddr>,
    /// Search domains in their order, without the dot at the end.
    pub search: Vec<String>,
}

impl Resolver {
    /// Of what somebody else has read. Repetitions count once.
    pub fn new(servers: impl IntoIterator<Item = IpAddr>, search: impl IntoIterator<Item = String>) -> Self {
        let mut resolver = Self::default();
        for server in servers {
            if !resolver.servers.contains(&server) {
                resolver.servers.push(server);
            }
        }
        for name in search {
            let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
            if !name.is_empty() && !resolver.search.contains(&name) {
                resolver.search.push(name);
            }
        }
        resolver
    }

    /// A resolv.conf: resolv.conf(5). Of several search lists the last counts.
    pub fn parse(text: &str) -> Self {
        let words = |line: &str, key: &str| -> Option<Vec<String>> {
            let rest = line.trim().strip_prefix(key)?;
            rest.starts_with(char::is_whitespace)
                .then(|| rest.split_whitespace().map(str::to_owned).collect())
        };
        let servers = text.lines().filter_map(|line| words(line, "nameserver")?.first()?.parse().ok());
        let search = text.lines().filter_map(|line| words(line, "search")).next_back().unwrap_or_default();
        Self::new(servers, search)
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} search {:?}", self.servers, self.search)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_resolv_conf() {
        let resolver =
            Resolver::parse("# x\nsearch a b.\n nameserver 10.0.0.1\nnameserver fd00::1\nsearch c c.\n");
        assert_eq!(resolver.servers, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        assert_eq!(resolver.search, ["c"]);
    }
}
