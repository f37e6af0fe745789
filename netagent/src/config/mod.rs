// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration: defaults, then the file, then environment, then flags; checked whole before anything starts, and read
//! again while the agent runs.
//!
//! A key is written down in one place, its section's, and can be set in all of them. A new section is a file beside
//! `agent.rs` and a field of [`Config`].

mod agent;
mod cri;
mod error;
mod kubevirt;
mod layers;
mod nri;
mod pods;
mod reload;
mod section;
mod setting;
#[cfg(test)]
mod tests;

pub use agent::Agent;
pub use cri::Cri;
pub use error::{Complaint, ConfigError, Instead, Place};
pub use kubevirt::KubeVirt;
pub use layers::Layers;
pub use nri::Nri;
pub use pods::Pods;
pub use reload::Change;
pub use section::{Applies, Key, Section};
pub use setting::{AbsolutePath, Bounded, Given, LogFilter, Setting};

/// Read when it is there and no other file is named.
pub const USUAL_FILE: &str = "/etc/netagent/netagent.toml";
/// The socket that clients try.
pub const USUAL_SOCKET: &str = "/run/netagent/netagent.sock";

/// The agent's configuration, by section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The agent itself: the keys before the first section.
    pub agent: Agent,
    /// KubeVirt as a source of ports.
    pub kubevirt: KubeVirt,
    /// What pods may ask for by their annotations.
    pub pods: Pods,
    /// The container runtime's list of pods as a source of ports.
    pub cri: Cri,
    /// The container runtime as a source of ports, before a pod starts.
    pub nri: Nri,
}

impl Config {
    /// All sections, in the order in which a file has them.
    fn sections(&self) -> Vec<&dyn Section> {
        vec![&self.agent, &self.kubevirt, &self.pods, &self.cri, &self.nri]
    }

    fn sections_mut(&mut self) -> Vec<&mut dyn Section> {
        vec![&mut self.agent, &mut self.kubevirt, &mut self.pods, &mut self.cri, &mut self.nri]
    }

    /// The names of the tables.
    fn tables(&self) -> Vec<String> {
        let named =
            self.sections().into_iter().map(|section| section.table()).filter(|name| !name.is_empty());
        named.map(str::to_owned).collect()
    }

    /// Section and name of every key.
    fn names(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let names = |section: &dyn Section| {
            let table = section.table();
            section.keys().iter().map(move |key| (table, key.name))
        };
        self.sections().into_iter().flat_map(names).collect::<Vec<_>>().into_iter()
    }

    /// The values that are set, as the file has them.
    pub fn to_table(&self) -> toml::Table {
        let mut whole = toml::Table::new();
        for section in self.sections() {
            let values =
                section.keys().iter().filter_map(|key| Some((key.name.to_owned(), section.get(key.name)?)));
            match section.table() {
                "" => whole.extend(values),
                table => _ = whole.insert(table.to_owned(), toml::Value::Table(values.collect())),
            }
        }
        whole
    }

    /// The configuration as a file that explains itself.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let comment = |text: &mut String, lines: &[&str]| {
            lines.iter().for_each(|line| text.push_str(&format!("#{line}\n")));
        };
        for section in self.sections() {
            if !section.table().is_empty() {
                comment(&mut text, section.about());
                text.push_str(&format!("[{}]\n\n", section.table()));
            }
            for key in section.keys() {
                comment(&mut text, key.about);
                match section.get(key.name) {
                    Some(value) => text.push_str(&format!("{} = {value}\n\n", key.name)),
                    None => text.push_str(&format!("# {} = {}\n\n", key.name, (key.expected)())),
                }
            }
        }
        text
    }
}
