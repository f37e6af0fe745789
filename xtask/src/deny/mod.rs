// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask deny`: licences, sources and banned crates by deny.toml, from `cargo metadata` alone. For
//! machines without cargo-deny, so that CI need not build it first.

mod licence;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toml::Table;

use crate::workspace;

/// Every key that is understood here. Another one in deny.toml would be ignored, so it is an error.
const KEYS: [(&str, &[&str]); 4] = [
    ("graph", &["targets", "all-features"]),
    ("licenses", &["allow"]),
    ("bans", &["multiple-versions", "wildcards", "allow-wildcard-paths", "deny"]),
    ("sources", &["unknown-registry", "unknown-git", "allow-registry"]),
];

/// The values that are implemented; deny.toml must say exactly these.
const FIXED: [(&str, &str, &str); 5] = [
    ("graph", "all-features", "true"),
    ("bans", "multiple-versions", "warn"),
    ("bans", "wildcards", "deny"),
    ("sources", "unknown-registry", "deny"),
    ("sources", "unknown-git", "deny"),
];

struct Policy {
    targets: Vec<String>,
    licences: Vec<String>,
    banned: Vec<(String, String)>,
    registries: Vec<String>,
}

/// `cargo xtask deny`.
pub(crate) fn run() -> Result<ExitCode> {
    let file = workspace::root().join("deny.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let policy = Policy::parse(&text).context("deny.toml")?;
    let mut packages = BTreeMap::new();
    for target in &policy.targets {
        let metadata = workspace::metadata(&["--all-features", "--filter-platform", target])?;
        for package in used(&metadata)? {
            packages.insert(package["id"].to_string(), package.clone());
        }
    }
    let packages: Vec<_> = packages.into_values().collect();
    for (name, versions) in duplicates(&packages) {
        println!("warning: {name} in {} versions: {}", versions.len(), Vec::from_iter(versions).join(", "));
    }
    let mut refused = Vec::new();
    for package in &packages {
        refused.extend(policy.judge(package));
    }
    for reason in &refused {
        println!("error: {reason}");
    }
    println!("{} packages, {} refused", packages.len(), refused.len());
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let file: Table = text.parse().context("not TOML")?;
        for (section, keys) in &file {
            let known = KEYS.iter().find(|(name, _)| name == section).map_or(&[][..], |(_, keys)| keys);
            for key in keys.as_table().with_context(|| format!("{section} is no table"))?.keys() {
                if !known.contains(&key.as_str()) {
                    bail!("xtask does not know {section}.{key}: teach it, or use cargo-deny");
                }
            }
        }
        for (section, key, value) in FIXED {
            let found = file
                .get(section)
                .and_then(|table| table.get(key))
                .context(format!("{section}.{key} is missing"))?;
            let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            if found != value {
                bail!("xtask implements {section}.{key} = {value} only, not {found}");
            }
        }
        let banned = file.get("bans").and_then(|bans| bans.get("deny")).and_then(toml::Value::as_array);
        let banned = banned.into_iter().flatten().map(|ban| {
            let field = |key| ban.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            field("crate").zip(field("reason")).context("bans.deny needs a crate and a reason")
        });
        Ok(Self {
            targets: strings(&file, "graph", "targets")?,
            licences: strings(&file, "licenses", "allow")?,
            banned: banned.collect::<Result<_>>()?,
            registries: strings(&file, "sources", "allow-registry")?,
        })
    }

    /// Why a package is refused.
    fn judge(&self, package: &Value) -> Vec<String> {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        let mut refused = Vec::new();
        match package["license"]
            .as_str()
            .map(|licence| (licence, licence::is_allowed(licence, &self.licences)))
        {
            Some((_, Ok(true))) => {}
            Some((licence, Ok(false))) => {
                refused.push(format!("{name} {version}: licence {licence} is not allowed"))
            }
            Some((_, Err(error))) => refused.push(format!("{name} {version}: {error:#}")),
            None => refused.push(format!("{name} {version}: no licence expression")),
        }
        // No source: a path, that is one of our own.
        if let Some(source) = package["source"].as_str() {
            let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+"));
            if !registry.is_some_and(|registry| self.registries.iter().any(|one| one == registry)) {
                refused.push(format!("{name} {version}: source {source} is not allowed"));
            }
        }
        if let Some((_, reason)) = self.banned.iter().find(|(banned, _)| banned == name) {
            refused.push(format!("{name} {version} is banned: {reason}"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if package["source"].is_null() && dependency["path"].is_null() && dependency["req"] == "*" {
                refused.push(format!("{name} asks for any version of {}", dependency["name"]));
            }
        }
        refused
    }
}

/// The packages in the resolved graph; metadata lists those of other platforms as well.
fn used(metadata: &Value) -> Result<Vec<&Value>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata resolved nothing")?;
    let ids: BTreeSet<_> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    Ok(packages.iter().filter(|package| package["id"].as_str().is_some_and(|id| ids.contains(id))).collect())
}

fn duplicates(packages: &[Value]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut versions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for package in packages {
        if let (Some(name), Some(version)) = (package["name"].as_str(), package["version"].as_str()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

fn strings(file: &Table, section: &str, key: &str) -> Result<Vec<String>> {
    let list = file.get(section).and_then(|table| table.get(key)).and_then(toml::Value::as_array);
    let list = list.with_context(|| format!("{section}.{key} is no list"))?;
    list.iter()
        .map(|one| one.as_str().map(str::to_owned).with_context(|| format!("{section}.{key}: not a text")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: &str = include_str!("../../../deny.toml");
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn judge(package: Value) -> String {
        Policy::parse(OURS).unwrap().judge(&package).join("; ")
    }

    #[test]
    fn a_permissive_crate_from_crates_io_passes() {
        let package =
            json!({"name": "a", "version": "1.0.0", "license": "MIT OR Apache-2.0", "source": CRATES_IO});
        assert_eq!(judge(package), "");
    }

    #[test]
    fn a_licence_that_is_not_listed_is_refused() {
        let package =
            json!({"name": "a", "version": "1.0.0", "license": "GPL-3.0-only", "source": CRATES_IO});
        assert!(judge(package).contains("licence GPL-3.0-only"));
        let package = json!({"name": "a", "version": "1.0.0", "license": null, "source": CRATES_IO});
        assert!(judge(package).contains("no licence"));
    }

    #[test]
    fn another_source_is_refused() {
        let package =
            json!({"name": "a", "version": "1.0.0", "license": "MIT", "source": "git+https://example.org/a"});
        assert!(judge(package).contains("source git+"));
    }

    #[test]
    fn a_banned_crate_is_refused() {
        let package =
            json!({"name": "openssl-sys", "version": "0.9.0", "license": "MIT", "source": CRATES_IO});
        assert!(judge(package).contains("banned"));
    }

    #[test]
    fn any_version_is_refused_in_our_crates() {
        let dependency = json!([{"name": "serde", "req": "*"}]);
        let package = json!({"name": "a", "version": "0.1.0", "license": "MIT", "source": null, "dependencies": dependency});
        assert!(judge(package).contains("any version"));
    }

    #[test]
    fn what_is_not_implemented_is_not_ignored() {
        let more = format!("{OURS}\n[advisories]\nyanked = \"deny\"\n");
        assert!(Policy::parse(&more).is_err());
        assert!(Policy::parse(&OURS.replace("\"warn\"", "\"deny\"")).is_err());
    }
}
