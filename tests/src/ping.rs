// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `ping` counted, both iputils' and busybox's.

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

/// The summary of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ping {
    /// Requests sent.
    pub sent: u32,
    /// Answers received.
    pub received: u32,
    /// Mean round trip in milliseconds, if anything came back.
    pub mean_ms: Option<f64>,
}

impl Ping {
    /// Reads the output of `ping -c N`.
    pub fn parse(text: &str) -> Result<Self> {
        let line = text
            .lines()
            .find(|line| line.contains("packets transmitted"))
            .ok_or_else(|| anyhow!("ping printed no summary: {}", text.trim()))?;
        let mut counts = line.split(',').map(|part| part.split_whitespace().next().unwrap_or_default());
        let mut count =
            || counts.next().unwrap_or_default().parse().with_context(|| format!("ping's summary `{line}`"));
        let (sent, received) = (count()?, count()?);
        // iputils: `rtt min/avg/max/mdev = a/b/c/d ms`; busybox: `round-trip min/avg/max = a/b/c ms`.
        let mean_ms = text
            .lines()
            .find_map(|line| line.split_once("min/avg/max").and_then(|(_, rest)| rest.split_once('=')))
            .and_then(|(_, times)| times.trim().split('/').nth(1))
            .and_then(|mean| mean.parse().ok());
        Ok(Self { sent, received, mean_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds() {
        let iputils = "3 packets transmitted, 3 received, 0% packet loss, time 2003ms\n\
                       rtt min/avg/max/mdev = 0.020/0.031/0.044/0.010 ms";
        assert_eq!(Ping::parse(iputils).unwrap(), Ping { sent: 3, received: 3, mean_ms: Some(0.031) });
        let busybox = "3 packets transmitted, 2 packets received, 33% packet loss\n\
                       round-trip min/avg/max = 0.5/0.7/0.9 ms";
        assert_eq!(Ping::parse(busybox).unwrap(), Ping { sent: 3, received: 2, mean_ms: Some(0.7) });
        let lost = "3 packets transmitted, 0 packets received, 100% packet loss";
        assert_eq!(Ping::parse(lost).unwrap(), Ping { sent: 3, received: 0, mean_ms: None });
        assert!(Ping::parse("ping: bad address").is_err());
    }
}
