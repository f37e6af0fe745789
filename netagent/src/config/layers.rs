// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where settings come from: file, environment, flags, each over the one before.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    Config, USUAL_FILE,
    error::{Complaint, ConfigError, Instead, Place},
    setting::Given,
};
use crate::core::nearest::nearest;

/// What every variable of the environment begins with.
const PREFIX: &str = "NETAGENT_";

/// All that is said about the configuration, to be read again when it may have changed.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<Flag>,
}

/// A flag that sets a key.
#[derive(Clone, Debug)]
struct Flag {
    name: String,
    key: String,
    value: String,
}

/// One value for one key.
struct Entry {
    place: Place,
    section: String,
    key: String,
    given: Given,
    /// As it was written.
    text: String,
}

impl Layers {
    /// The usual file or the one that is named, and nothing over it. One that is named must be there.
    pub fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), ..Self::default() }
    }

    /// Lays the environment over the file: `NETAGENT_KEY`, `NETAGENT_SECTION_KEY`.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        self
    }

    /// Lays a flag over everything else; `key` is `key` or `section.key`.
    pub fn flag(&mut self, name: impl Into<String>, key: impl Into<String>, value: impl ToString) {
        self.flags.push(Flag { name: name.into(), key: key.into(), value: value.to_string() });
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// Everything that is wrong, in whatever layer; also with values that another layer overrides.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut complaints = Vec::new();
        let file = self.file_entries(&config, &mut complaints);
        for entry in file.into_iter().chain(self.environment_entries(&config)).chain(self.flag_entries()) {
            complaints.extend(apply(&mut config, entry).err());
        }
        match ConfigError::of(complaints) {
            None => Ok(config),
            Some(error) => Err(error),
        }
    }

    /// Variables that set nothing and are named nearly like one that does. They are no error: Kubernetes sets variables
    /// for every service, and a service may be called netagent, too.
    pub fn doubtful_variables(&self) -> Vec<(String, String)> {
        let known: Vec<String> =
            Config::default().names().map(|(section, key)| variable(section, key)).collect();
        let doubtful = self.environment.iter().filter_map(|(name, _)| {
            // What all have in common makes nothing nearer.
            let known = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
            let near = format!("{PREFIX}{}", nearest(name.strip_prefix(PREFIX)?, known)?);
            (near != *name && !NOT_SETTINGS.contains(&name.as_str())).then(|| (name.clone(), near))
        });
        doubtful.filter(|(name, _)| !name.contains("_SERVICE_") && !name.contains("_PORT")).collect()
    }

    fn file_entries(&self, config: &Config, complaints: &mut Vec<Complaint>) -> Vec<Entry> {
        let path = self.file.as_deref().unwrap_or(Path::new(USUAL_FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.file.is_none() => return Vec::new(),
            Err(source) => {
                complaints.push(Complaint::Read { path: path.to_owned(), source });
                return Vec::new();
            }
        };
        let file = File { path, text: &text };
        let (table, errors) = DeTable::parse_recoverable(&text);
        complaints.extend(errors.iter().map(|error| Complaint::Syntax {
            place: file.place(error.span().unwrap_or_default()),
            message: error.message().to_owned(),
        }));
        if errors.is_empty() { file.entries(table.get_ref(), config, complaints) } else { Vec::new() }
    }

    fn environment_entries(&self, config: &Config) -> Vec<Entry> {
        let entry = |(section, key): (&str, &str)| {
            let name = variable(section, key);
            let (_, value) = self.environment.iter().find(|(there, _)| *there == name)?;
            Some(Entry {
                place: Place::Environment(name),
                section: section.to_owned(),
                key: key.to_owned(),
                given: Given::Text(value.clone()),
                text: value.clone(),
            })
        };
        config.names().filter_map(entry).collect()
    }

    fn flag_entries(&self) -> impl Iterator<Item = Entry> {
        self.flags.iter().map(|flag| {
            let (section, key) = flag.key.split_once('.').unwrap_or(("", &flag.key));
            Entry {
                place: Place::Flag(flag.name.clone()),
                section: section.to_owned(),
                key: key.to_owned(),
                given: Given::Text(flag.value.clone()),
                text: flag.value.clone(),
            }
        })
    }
}

/// Variables that belong to the command line.
const NOT_SETTINGS: [&str; 1] = ["NETAGENT_CONFIG"];

/// The variable that sets a key.
fn variable(section: &str, key: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!("{section}_") };
    format!("{PREFIX}{section}{key}").to_uppercase()
}

/// How people name a key.
pub(super) fn full_name(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn apply(config: &mut Config, entry: Entry) -> Result<(), Complaint> {
    let Entry { place, section, key, given, text } = entry;
    let name = full_name(&section, &key);
    let Some(there) = config.sections_mut().into_iter().find(|there| there.table() == section) else {
        let tables = config.tables();
        return Err(Complaint::UnknownSection { place, instead: instead(&section, &tables), section });
    };
    let Some(known) = there.keys().iter().find(|known| known.name == key) else {
        let keys: Vec<_> = there.keys().iter().map(|known| full_name(&section, known.name)).collect();
        return Err(Complaint::UnknownKey {
            place,
            instead: instead_of_key(config, &name, &key, keys),
            key: name,
        });
    };
    if there.set(&key, &given) {
        Ok(())
    } else {
        Err(Complaint::Value { place, key: name, value: text, expected: (known.expected)() })
    }
}

fn instead(name: &str, known: &[String]) -> Instead {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => Instead::Nearest(near.to_owned()),
        None => Instead::OneOf(known.to_vec()),
    }
}

/// The nearest key of the section; else the key of that name in another one.
fn instead_of_key(config: &Config, name: &str, key: &str, of_section: Vec<String>) -> Instead {
    match instead(name, &of_section) {
        Instead::OneOf(all) => match config.names().find(|(_, other)| *other == key) {
            Some((section, key)) => Instead::Nearest(full_name(section, key)),
            None => Instead::OneOf(all),
        },
        near => near,
    }
}

/// A file's text, to tell what stands where.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn entries(&self, table: &DeTable<'_>, config: &Config, complaints: &mut Vec<Complaint>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let tables = config.tables();
        for (name, value) in table {
            let place = self.place(name.span());
            let name: &str = name.get_ref();
            match value.get_ref() {
                DeValue::Table(keys) if tables.iter().any(|table| table == name) => {
                    entries.extend(keys.iter().map(|(key, value)| {
                        self.entry(name, key.get_ref(), self.place(key.span()), value.get_ref(), value.span())
                    }));
                }
                DeValue::Table(_) => complaints.push(Complaint::UnknownSection {
                    place,
                    instead: instead(name, &tables),
                    section: name.to_owned(),
                }),
                other => entries.push(self.entry("", name, place, other, value.span())),
            }
        }
        entries
    }

    fn entry(
        &self,
        section: &str,
        key: &str,
        place: Place,
        value: &DeValue<'_>,
        span: Range<usize>,
    ) -> Entry {
        let text = self.text.get(span).and_then(|text| text.lines().next()).unwrap_or_default();
        Entry {
            place,
            section: section.to_owned(),
            key: key.to_owned(),
            given: given(value),
            text: text.to_owned(),
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Place::File { path: self.path.to_owned(), line: before.matches('\n').count().saturating_add(1) }
    }
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::String(text.to_string()),
        DeValue::Boolean(truth) => Given::Boolean(*truth),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Integer(number),
            Err(_) => Given::Other("integer"),
        },
        DeValue::Array(values) => Given::Array(values.iter().map(|value| given(value.get_ref())).collect()),
        other => Given::Other(other.type_str()),
    }
}
