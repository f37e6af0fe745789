// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every part of the bench brings home: one number per round, and what the number means. Tables, charts and comparisons
//! are made from these alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that was measured in every round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    /// What was measured: `time per packet`, `throughput`, `attach`.
    pub(super) measure: String,
    /// Under which circumstances: `VM -> node, 64 B`, `4 streams`, `1000 ports`.
    pub(super) case: String,
    /// Through what, by its name on the command line: `netagent-peer`, `bridge`.
    pub(super) variant: String,
    /// Of the values.
    pub(super) unit: Unit,
    /// Which way is better.
    pub(super) better: Better,
    /// One value per round, in their order, so that ratios can be taken within a round; `None` where a round gave none.
    pub(super) rounds: Vec<Option<f64>>,
}

/// Units. A figure without one is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// 10^9 bits per second.
    #[serde(rename = "Gbit/s")]
    GigabitsPerSecond,
    /// Seconds of CPU time per 10^9 bytes.
    #[serde(rename = "CPU s/GB")]
    CpuSecondsPerGigabyte,
    /// Seconds of CPU time per 10^6 packets.
    #[serde(rename = "CPU s/Mpkt")]
    CpuSecondsPerMillionPackets,
    /// Milliseconds of CPU time per second: ten are one per cent of a CPU.
    #[serde(rename = "CPU ms/s")]
    CpuMillisecondsPerSecond,
    /// How often in a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// 1024 bytes.
    #[serde(rename = "KiB")]
    Kibibytes,
    /// Whatever can be counted.
    #[serde(rename = "count")]
    Count,
}

impl fmt::Display for Unit {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    /// Time, memory, CPU.
    Lower,
    /// Throughput.
    Higher,
}
