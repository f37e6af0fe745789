// SPDX-License-Identifier: MIT OR Apache-2.0
//! A section of the file: its keys are written down once, and from that follow its defaults, how it is read, what
//! `netagent config default` says of them, and which of them a running agent takes up.

use super::setting::Given;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the section.
    pub name: &'static str,
    /// What it is, line by line.
    pub about: &'static [&'static str],
    /// When another value takes effect.
    pub applies: Applies,
    /// What its value has to be.
    pub expected: fn() -> String,
}

/// When another value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// As soon as the agent has read it again.
    Live,
    /// When the agent starts.
    AtStart,
}

/// The keys that stand together in one table of the file.
pub trait Section {
    /// The table's name; empty for the keys before the first table.
    fn table(&self) -> &'static str;

    /// What it is about, line by line.
    fn about(&self) -> &'static [&'static str];

    /// Its keys, in the order in which people read them.
    fn keys(&self) -> &'static [Key];

    /// Reads a key's value; the value stays what it was when the other one cannot be. `false` then, and for a key that
    /// the section does not have.
    fn set(&mut self, key: &str, given: &Given) -> bool;

    /// A key's value; `None` when it is not set.
    fn get(&self, key: &str) -> Option<toml::Value>;
}

/// Defines a section: `live` or `at_start`, name, kind, default of each key. The comments are the user's, too.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident in $table:literal {
            $(
                $(#[doc = $text:literal])+
                $when:ident $key:ident: $kind:ty = $default:expr,
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[doc = $text])+ pub $key: $kind, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        impl $crate::config::section::Section for $name {
            fn table(&self) -> &'static str {
                $table
            }

            fn about(&self) -> &'static [&'static str] {
                &[$( $about, )+]
            }

            fn keys(&self) -> &'static [$crate::config::section::Key] {
                const {
                    &[$( $crate::config::section::Key {
                        name: stringify!($key),
                        about: &[$( $text, )+],
                        applies: section!(@ $when),
                        expected: <$kind as $crate::config::setting::Setting>::expected,
                    }, )*]
                }
            }

            fn set(&mut self, key: &str, given: &$crate::config::setting::Given) -> bool {
                match key {
                    $( stringify!($key) => match $crate::config::setting::Setting::read(given) {
                        Some(value) => self.$key = value,
                        None => return false,
                    }, )*
                    _ => return false,
                }
                true
            }

            fn get(&self, key: &str) -> Option<toml::Value> {
                match key {
                    $( stringify!($key) => $crate::config::setting::Setting::show(&self.$key), )*
                    _ => None,
                }
            }
        }
    };
    (@ live) => { $crate::config::section::Applies::Live };
    (@ at_start) => { $crate::config::section::Applies::AtStart };
}
pub(super) use section;
