// SPDX-License-Identifier: MIT OR Apache-2.0
//! Documents, rules and dashboard name metrics and labels: each has to be in what a real agent serves.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::Context as _;
use netagent_tests::scrape::Scrape;
use serde_json::Value;

/// What Prometheus and its configuration put beside our labels: the target, and the node it is on.
const OF_THE_TARGET: [&str; 5] = ["instance", "job", "node", "le", "__name__"];

/// Where all of them are.
pub(crate) fn file(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string()).unwrap()
}

/// Every metric is documented, and nothing is named that is not there.
pub(crate) fn assert_documents_fit(scrape: &Scrape) {
    let document = file("docs/metrics.md");
    let told = words(&document);
    let mut known = scrape.documented_names();
    for name in &known {
        assert!(told.contains(name.as_str()), "docs/metrics.md does not tell of {name}");
    }
    let rules = file("deploy/prometheus/rules.yaml");
    let recorded: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    assert!(!recorded.is_empty());
    known.extend(scrape.samples.iter().map(|sample| sample.name.clone()));
    known.extend(recorded.into_iter().map(str::to_owned));
    let adapter = file("deploy/examples/hpa/adapter.yaml");
    known.extend(adapter.lines().filter_map(|line| line.trim().strip_prefix("as: ")).map(str::to_owned));

    let dashboard = queries(&file("deploy/grafana/netagent.json"));
    for (what, text) in [
        ("docs/metrics.md", &document),
        ("rules.yaml", &rules),
        ("tests.yaml", &file("deploy/prometheus/tests.yaml")),
        ("netagent.json", &dashboard),
        ("adapter.yaml", &adapter),
        ("hpa.yaml", &file("deploy/examples/hpa/hpa.yaml")),
    ] {
        for name in words(text) {
            assert!(known.contains(name), "{what} names {name}, which no agent serves");
        }
    }
    for (what, text) in [("rules.yaml", &rules), ("netagent.json", &dashboard)] {
        for (name, label) in selectors(text) {
            let labels = scrape.labels_by_name();
            let has = labels.get(name).is_none_or(|labels| labels.contains(label));
            assert!(has || OF_THE_TARGET.contains(&label), "{what}: {name} has no label {label}");
        }
    }
}

/// Every query of a dashboard, a line each.
fn queries(dashboard: &str) -> String {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(query) if ["expr", "definition", "query"].contains(&name.as_str()) => {
                            found.push(query.clone());
                        }
                        other => walk(other, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&serde_json::from_str(dashboard).unwrap(), &mut found);
    assert!(found.len() > 10, "{found:?}");
    found.join("\n")
}

/// Names of ours in a text.
fn words(text: &str) -> BTreeSet<&str> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !of_a_name(c))
        .map(|word| word.trim_end_matches(':'))
        .filter(|word| word.starts_with("netagent_") || word.starts_with("netagent:"))
        .collect()
}

/// Name and label of each matcher, as `a{b="c"}` has `a` and `b`.
fn selectors(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for name in words(text) {
        for (at, _) in text.match_indices(&format!("{name}{{")) {
            let inside = &text[at + name.len() + 1..];
            let inside = inside.split('}').next().unwrap_or_default();
            let labels = inside.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
            // A comma within a regular expression makes a piece without a label.
            let is_label = |label: &&str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            found.extend(labels.map(str::trim).filter(is_label).map(|label| (name, label)));
        }
    }
    found
}

#[test]
fn names_and_labels_are_found_where_they_are() {
    let text = "sum by (x) (rate(netagent_a_total{b=\"1\",c=~\"d|e\"}[5m])) / netagent:r:x # netagent_z: no";
    assert_eq!(words(text), ["netagent_a_total", "netagent:r:x", "netagent_z"].into());
    assert_eq!(selectors(text), [("netagent_a_total", "b"), ("netagent_a_total", "c")]);
}
