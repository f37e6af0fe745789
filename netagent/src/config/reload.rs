// SPDX-License-Identifier: MIT OR Apache-2.0
//! What another reading of the configuration changes in an agent that runs.

use super::{Config, layers::full_name, section::Applies, setting::Given};

/// A key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name, with its section.
    pub key: String,
    /// The value that the agent runs with; empty when it is not set.
    pub before: String,
    /// The value that it was given; empty when it is not set any more.
    pub after: String,
    /// When that takes effect.
    pub applies: Applies,
}

impl Config {
    /// Takes up what a running agent can take up of a configuration that was read again. The rest stays as it is, and
    /// shows again as a change the next time. All that differs is returned.
    pub fn take_up(&mut self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (section, other) in self.sections_mut().into_iter().zip(new.sections()) {
            for key in section.keys() {
                let (before, after) = (section.get(key.name), other.get(key.name));
                if before == after {
                    continue;
                }
                if key.applies == Applies::Live {
                    let given = after.as_ref().map_or(Given::Text(String::new()), Given::from_value);
                    section.set(key.name, &given);
                }
                let text =
                    |value: Option<toml::Value>| value.map_or_else(String::new, |value| value.to_string());
                changes.push(Change {
                    key: full_name(section.table(), key.name),
                    before: text(before),
                    after: text(after),
                    applies: key.applies,
                });
            }
        }
        changes
    }
}
