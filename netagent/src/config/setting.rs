// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kinds of values: how each is read from what was given, and what it has to be, in words. A value that was read needs no
//! further check.

use std::{
    fmt,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
};

use tracing_subscriber::EnvFilter;

/// A value as it was given, before anybody knows what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// By environment or flag, which know nothing but text.
    Text(String),
    /// A string of the file.
    String(String),
    /// An integer of the file.
    Integer(i64),
    /// A boolean of the file.
    Boolean(bool),
    /// An array of the file.
    Array(Vec<Self>),
    /// Anything else of the file, by TOML's name for it.
    Other(&'static str),
}

/// A kind of value.
pub trait Setting: Sized {
    /// Reads a value; `None` when it is not one.
    fn read(given: &Given) -> Option<Self>;

    /// What a value has to be, to stand behind "must be".
    fn expected() -> String;

    /// The value as the file has it; `None` when it is not set.
    fn show(&self) -> Option<toml::Value>;
}

impl Given {
    /// What stands in a place for text.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a file that reads back as `value`.
    pub fn from_value(value: &toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::String(text.clone()),
            toml::Value::Integer(number) => Self::Integer(*number),
            toml::Value::Boolean(truth) => Self::Boolean(*truth),
            toml::Value::Array(values) => Self::Array(values.iter().map(Self::from_value).collect()),
            other => Self::Other(other.type_str()),
        }
    }
}

/// An absolute path: a relative one would depend on where the agent was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// A path that the program itself names.
    pub fn usual(path: &'static str) -> Self {
        Self(path.into())
    }
}

impl Deref for AbsolutePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Setting for AbsolutePath {
    fn read(given: &Given) -> Option<Self> {
        given.text().map(PathBuf::from).filter(|path| path.is_absolute()).map(Self)
    }

    fn expected() -> String {
        "an absolute path".to_owned()
    }

    fn show(&self) -> Option<toml::Value> {
        // It came from text.
        Some(self.0.display().to_string().into())
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Bounded<LEAST, MOST> {
    /// A number that the program itself names.
    pub const fn usual(number: u32) -> Self {
        assert!(LEAST <= number && number <= MOST, "a default is within its bounds");
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const LEAST: u32, const MOST: u32> Setting for Bounded<LEAST, MOST> {
    fn read(given: &Given) -> Option<Self> {
        let number = match given {
            Given::Text(text) => text.parse().ok()?,
            Given::Integer(number) => u32::try_from(*number).ok()?,
            _ => return None,
        };
        (LEAST..=MOST).contains(&number).then_some(Self(number))
    }

    fn expected() -> String {
        format!("a number from {LEAST} to {MOST}")
    }

    fn show(&self) -> Option<toml::Value> {
        Some(i64::from(self.0).into())
    }
}

impl Setting for bool {
    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Boolean(truth) => Some(*truth),
            Given::Text(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn expected() -> String {
        "true or false".to_owned()
    }

    fn show(&self) -> Option<toml::Value> {
        Some((*self).into())
    }
}

/// Text that can be printed, and is not empty: what may be is an [`Option`].
impl Setting for String {
    fn read(given: &Given) -> Option<Self> {
        let printable = |text: &&str| !text.is_empty() && !text.chars().any(char::is_control);
        given.text().filter(printable).map(str::to_owned)
    }

    fn expected() -> String {
        "a text".to_owned()
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.clone().into())
    }
}

impl Setting for SocketAddr {
    fn read(given: &Given) -> Option<Self> {
        given.text()?.parse().ok()
    }

    fn expected() -> String {
        "an address and a port, as in 127.0.0.1:9090 or [::1]:9090".to_owned()
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.to_string().into())
    }
}

/// A filter of log lines, as in `info` or `netagent=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// A filter that the program itself names.
    pub fn usual(filter: &'static str) -> Self {
        Self(filter.to_owned())
    }

    /// The filter for the subscriber.
    pub fn filter(&self) -> EnvFilter {
        // It was read once; an empty one lets errors through.
        EnvFilter::try_new(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Setting for LogFilter {
    fn read(given: &Given) -> Option<Self> {
        let text = given.text().filter(|text| !text.trim().is_empty())?;
        EnvFilter::try_new(text).ok().map(|_| Self(text.to_owned()))
    }

    fn expected() -> String {
        "a log filter, as in info or netagent=debug".to_owned()
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.0.clone().into())
    }
}

/// Not set by default; an empty text of environment or flag takes it back.
impl<T: Setting> Setting for Option<T> {
    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Text(text) if text.is_empty() => Some(None),
            _ => T::read(given).map(Some),
        }
    }

    fn expected() -> String {
        T::expected()
    }

    fn show(&self) -> Option<toml::Value> {
        self.as_ref().and_then(T::show)
    }
}

/// An array of the file; in text the values stand with commas between them.
impl<T: Setting> Setting for Vec<T> {
    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Array(values) => values.iter().map(T::read).collect(),
            Given::Text(text) if text.is_empty() => Some(Vec::new()),
            Given::Text(text) => {
                text.split(',').map(|part| T::read(&Given::Text(part.trim().to_owned()))).collect()
            }
            _ => None,
        }
    }

    fn expected() -> String {
        format!("a list, each of it {}", T::expected())
    }

    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.iter().filter_map(T::show).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn a_value_is_read_as_the_file_and_as_text_have_it() {
        type Number = Bounded<1, 10>;
        assert_eq!(Number::read(&Given::Integer(10)), Number::read(&text("10")));
        for bad in [Given::Integer(0), Given::Integer(-1), Given::Integer(i64::MAX), Given::Boolean(true)] {
            assert_eq!(Number::read(&bad), None, "{bad:?}");
        }
        assert_eq!(Number::read(&Given::String("5".to_owned())), None, "in the file a number is a number");
        assert_eq!([bool::read(&text("1")), bool::read(&Given::Boolean(true))], [Some(true); 2]);
        assert_eq!(bool::read(&text("yes")), None);
        assert!(AbsolutePath::read(&text("run/agent.sock")).is_none());
        assert!(LogFilter::read(&text("netagent=loud")).is_none());
        assert!(LogFilter::read(&text("")).is_none());
        assert_eq!(String::read(&text("a b")), Some("a b".to_owned()));
        assert_eq!([String::read(&text("")), String::read(&text("a\nb"))], [None, None]);
    }

    #[test]
    fn lists_and_what_is_not_set() {
        type Paths = Vec<AbsolutePath>;
        let two = Paths::read(&text("/a, /b")).unwrap();
        assert_eq!(Paths::read(&Given::from_value(&two.show().unwrap())), Some(two));
        assert_eq!(Paths::read(&text("")), Some(vec![]));
        assert_eq!(Paths::read(&text("/a,b")), None);
        assert_eq!(<Option<SocketAddr>>::read(&text("")), Some(None));
        assert_eq!(<Option<SocketAddr>>::read(&text("localhost:1")), None);
    }
}
