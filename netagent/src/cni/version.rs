// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions of the CNI specification that the plugin speaks.

use std::{fmt, str::FromStr};

use super::CniError;

/// A version of the specification. Older is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecVersion {
    /// Chains and results of several interfaces are there; addresses carry their family.
    V0_3_1,
    /// CHECK.
    V0_4_0,
    /// Addresses do not carry their family any more.
    V1_0_0,
    /// GC, STATUS, the MTU of interfaces.
    #[default]
    V1_1_0,
}

impl SpecVersion {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// As it stands in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SpecVersion {
    type Err = CniError;

    fn from_str(text: &str) -> Result<Self, CniError> {
        let known = Self::ALL.into_iter().find(|version| version.as_str() == text);
        known.ok_or_else(|| CniError::Version { asked: text.to_owned() })
    }
}
