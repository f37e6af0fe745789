// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the runtime is told when something fails: the specification's codes, and ours from 100 on.

use std::{error::Error as _, io};

use serde_json::{Value, json};

use super::SpecVersion;
use crate::api::ClientError;

/// More of a text than anybody reads. What a caller sent is shown in errors, and may be a megabyte.
const SHOWN: usize = 300;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// Not a version that the plugin speaks.
    #[error("cniVersion `{}` is not supported", shorten(.asked))]
    Version {
        /// What the configuration says.
        asked: String,
    },
    /// The version has no such command.
    #[error("{command} came with cniVersion {since}, and the configuration has {version}")]
    CommandVersion {
        /// What was called.
        command: &'static str,
        /// The first version that has it.
        since: SpecVersion,
        /// The configuration's.
        version: SpecVersion,
    },
    /// A key that is neither ours nor CNI's.
    #[error("unsupported field `{}` = {}", shorten(.key), shorten(.value))]
    UnknownKey {
        /// The key, with those that it stands below.
        key: String,
        /// Its value.
        value: String,
        /// The key that may have been meant.
        nearest: Option<String>,
    },
    /// A value that cannot be used.
    #[error("`{}` = {}: {}", shorten(.key), shorten(.value), shorten(.why))]
    Field {
        /// The key, with those that it stands below.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key that must be there.
    #[error("`{key}` is missing: {why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Who should have set it.
        why: &'static str,
    },
    /// A variable of the environment.
    #[error("{variable} {}", shorten(.why))]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Standard input or output.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// More than anybody writes.
    #[error("the configuration has more than {limit} bytes")]
    TooLong {
        /// What is read.
        limit: u64,
    },
    /// Not JSON.
    #[error("the configuration is no JSON object")]
    Decode(#[source] serde_json::Error),
    /// The namespace is not there, or not a pod's.
    #[error("CNI_NETNS: {0}")]
    Netns(String),
    /// There is no agent to do what is asked.
    #[error("the netagent agent does not answer; try again when it runs")]
    NoAgent(#[source] ClientError),
    /// The agent takes too long.
    #[error("the netagent agent did not answer within {seconds} s; try again")]
    Slow {
        /// How long it had.
        seconds: u64,
    },
    /// The agent cannot take another port.
    #[error("all {limit} ports of this node are taken")]
    Full {
        /// How many there can be.
        limit: u64,
    },
    /// The socket is not for this user.
    #[error("{0}")]
    Forbidden(ClientError),
    /// The agent could not do it.
    #[error("{operation}: {}", .source)]
    Agent {
        /// What it was to do, and to what.
        operation: String,
        /// Its words.
        source: ClientError,
    },
    /// The namespace cannot be looked into.
    #[error("look into CNI_NETNS: {0}")]
    Look(String),
    /// Not what ADD left.
    #[error("{0}")]
    NotAsAdded(String),
    /// Some of several could not be taken off.
    #[error("{count} of the stale ports could not be taken off")]
    Stale {
        /// How many.
        count: usize,
        /// What the agent said of each.
        reasons: String,
    },
}

impl CniError {
    /// What a call of the agent that got no good answer comes to.
    pub(super) fn from_agent(operation: String, error: ClientError) -> Self {
        match &error {
            ClientError::Forbidden { .. } => Self::Forbidden(error),
            _ if error.is_unreachable() => Self::NoAgent(error),
            _ => Self::Agent { operation, source: error },
        }
    }

    /// The number that the runtime goes by.
    pub fn code(&self) -> u32 {
        match self {
            Self::Version { .. } | Self::CommandVersion { .. } => 1,
            Self::UnknownKey { .. } => 2,
            // Not 3, "container unknown": that would tell the runtime that nothing of the chain needs a DEL, and the plugin
            // before us has given out an address.
            Self::Environment { .. } | Self::Netns(_) => 4,
            Self::Io { .. } => 5,
            Self::TooLong { .. } | Self::Decode(_) => 6,
            Self::Field { .. } | Self::Missing { .. } => 7,
            Self::NoAgent(_) | Self::Slow { .. } => 11,
            Self::Full { .. } => 50,
            Self::Agent { source, .. } => agent_code(source),
            Self::Look(_) | Self::Stale { .. } => 100,
            Self::Forbidden(_) => 102,
            Self::NotAsAdded(_) => 103,
        }
    }

    /// More than the message says: causes and remedy; empty when there is no more.
    fn details(&self) -> String {
        match self {
            Self::Version { .. } => {
                let all: Vec<_> = SpecVersion::ALL.iter().map(|version| version.as_str()).collect();
                format!("netagent speaks {}", all.join(", "))
            }
            Self::UnknownKey { nearest, .. } => match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "netagent has no such key, and neither has CNI".to_owned(),
            },
            Self::NoAgent(source) => source.to_string(),
            Self::Stale { reasons, .. } => reasons.clone(),
            _ => self.source().map(chain).unwrap_or_default(),
        }
    }

    /// The error as the specification has it (section 5, Error).
    pub fn to_json(&self, version: SpecVersion) -> Value {
        self.to_json_as(version, self.code())
    }

    /// The answer to STATUS: whatever keeps an ADD from being served is "not available" there.
    pub fn to_status_json(&self, version: SpecVersion) -> Value {
        const NOT_AVAILABLE: u32 = 50;
        let code = match self.code() {
            11 | 100.. => NOT_AVAILABLE,
            code => code,
        };
        self.to_json_as(version, code)
    }

    fn to_json_as(&self, version: SpecVersion, code: u32) -> Value {
        let mut error = json!({ "cniVersion": version.as_str(), "code": code, "msg": self.to_string() });
        let details = self.details();
        if let (Some(fields), false) = (error.as_object_mut(), details.is_empty()) {
            fields.insert("details".to_owned(), details.into());
        }
        error
    }
}

/// A port that is there with other settings can be told from one that cannot be wired.
fn agent_code(error: &ClientError) -> u32 {
    match error {
        ClientError::Refused(status) => match status.code() {
            tonic::Code::AlreadyExists => 101,
            tonic::Code::InvalidArgument => 7,
            tonic::Code::Aborted => 11,
            _ => 100,
        },
        _ => 100,
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
