// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a configuration: all of it at once, each with its place.

use std::{fmt, io, path::PathBuf};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    complaints: Vec<Complaint>,
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Complaint {
    /// The file cannot be read.
    #[error("read configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key `{key}`; {instead}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// Which there is.
        instead: Instead,
    },
    /// There is no such section.
    #[error("{place}: unknown section [{section}]; {instead}")]
    UnknownSection {
        /// Where.
        place: Place,
        /// Its name.
        section: String,
        /// Which there is.
        instead: Instead,
    },
    /// A value is not what it has to be.
    #[error("{place}: {key} = {value} must be {expected}")]
    Value {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// The value, as it was given.
        value: String,
        /// What it has to be.
        expected: String,
    },
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    File {
        /// Its path.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// In a variable of the environment.
    Environment(String),
    /// By a flag.
    Flag(String),
}

/// What to write in place of a name that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// One that is nearly the same.
    Nearest(String),
    /// All that there are.
    OneOf(Vec<String>),
}

impl ConfigError {
    /// `None` when there is nothing to complain of.
    pub(super) fn of(complaints: Vec<Complaint>) -> Option<Self> {
        (!complaints.is_empty()).then_some(Self { complaints })
    }

    /// Everything that is wrong.
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }
}

impl fmt::Display for ConfigError {
    /// A single one stands in a line; several have a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.complaints.as_slice() {
            [only] => write!(f, "{only}"),
            several => {
                write!(f, "{} things are wrong with the configuration:", several.len())?;
                several.iter().try_for_each(|complaint| write!(f, "\n  {complaint}"))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(name) => write!(f, "did you mean `{name}`?"),
            Self::OneOf(names) => write!(f, "there are {}", names.join(", ")),
        }
    }
}
