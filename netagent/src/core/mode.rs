// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the guest meets the pod's network: through a tap of ours, or past a bridge that is there.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a port is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The guest has the pod link's addresses; tap and hand-off are ours.
    #[default]
    L2,
    /// Tap and pod link are in a bridge that KubeVirt made for its binding `bridge`, and stay in it. The programs take
    /// frames before the bridge does; when they are taken off, it carries on. The hand-off stays KubeVirt's.
    Accelerate,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::L2, Self::Accelerate];

    /// The stable name in JSON, flags and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Accelerate => "accelerate",
        }
    }

    /// The pod link of a pod's first network, where none is named: KubeVirt renames the one that it puts into a bridge.
    pub fn usual_pod_link(self) -> &'static str {
        match self {
            Self::L2 => "eth0",
            Self::Accelerate => "eth0-nic",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| ModeError(text.to_owned()))
    }
}

/// No such mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mode `{0}` is not one of l2, accelerate")]
pub struct ModeError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in Mode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
        }
        assert_eq!("L3".parse::<Mode>().unwrap_err().to_string(), "mode `L3` is not one of l2, accelerate");
    }
}
