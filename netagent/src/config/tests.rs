// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layers, refusals and what changes in a running agent, on files.

use std::{fs, path::Path};

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    with(text, &[], &[])
}

fn with(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("netagent.toml");
    fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut layers = Layers::new(Some(&path)).environment(variables);
    for (key, value) in flags {
        layers.flag(format!("--set {key}"), *key, value);
    }
    layers.load()
}

/// Each complaint with the file's folder left out.
fn complaints(refused: Result<Config, ConfigError>) -> Vec<String> {
    let short = |text: String| match text.split_once("netagent.toml:") {
        Some((_, rest)) => format!("file:{rest}"),
        None => text,
    };
    refused.unwrap_err().complaints().iter().map(|complaint| short(complaint.to_string())).collect()
}

#[test]
fn what_it_prints_it_reads() {
    let printed = Config::default().to_toml();
    assert_eq!(load(&printed).unwrap(), Config::default());
    assert_eq!(load("").unwrap(), Config::default());
    for (section, key) in Config::default().names() {
        assert!(printed.contains(&format!("{key} = ")), "{section} {key}");
    }
    // What is not set can be, as it is written.
    let set = printed.replace("# metrics = ", "metrics = \"127.0.0.1:9090\" # ");
    assert_eq!(load(&set).unwrap().agent.metrics, Some("127.0.0.1:9090".parse().unwrap()));
}

#[test]
fn flags_lie_over_environment_over_file_over_defaults() {
    let file = "lease_seconds = 100\nresync_seconds = 100\nlog = 'warn'\nlog_json = true";
    let variables = [("NETAGENT_RESYNC_SECONDS", "200"), ("NETAGENT_LOG", "debug"), ("NETAGENT_OTHER", "x")];
    let agent = with(file, &variables, &[("log", "trace")]).unwrap().agent;
    assert_eq!(
        (agent.lease_seconds.get(), agent.resync_seconds.get(), agent.log.to_string(), agent.log_json),
        (100, 200, "trace".to_owned(), true)
    );
    assert_eq!(agent.bpffs, Config::default().agent.bpffs);
    // What was set below can be taken back.
    let metrics = |variables: &[_]| with("metrics = '127.0.0.1:1'", variables, &[]).unwrap().agent.metrics;
    assert_eq!(metrics(&[]), Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(metrics(&[("NETAGENT_METRICS", "")]), None);
}

#[test]
fn every_key_can_be_set_in_every_layer() {
    let default = Config::default();
    for section in default.sections() {
        for key in section.keys() {
            let name = if section.table().is_empty() {
                key.name.to_owned()
            } else {
                format!("{}.{}", section.table(), key.name)
            };
            let variable = format!("NETAGENT_{}", name.replace('.', "_")).to_uppercase();
            // Nothing is a control character: whatever the key, it is heard, and refused by its name.
            for refused in [
                with("", &[(&variable, "\u{7}")], &[]),
                with("", &[], &[(&name, "\u{7}")]),
                load(&format!("{name} = 1979-05-27")),
            ] {
                assert!(refused.unwrap_err().to_string().contains(&format!("{name} = ")), "{name}");
            }
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_where() {
    let tables = Config::default().tables().join(", ");
    let expected = |said: [&str; 9]| said.map(|line| line.replace("TABLES", &tables));
    let file =
        "lease_seconds = 1\n\nresync_second = 5\nbpffs = 'x'\nlog_json = 'true'\n\n[agent]\nsocket = '/a'\n";
    assert_eq!(
        complaints(with(
            file,
            &[("NETAGENT_METRICS", "localhost")],
            &[("log", ""), ("sockt", "/a"), ("x.y", "1")]
        )),
        expected([
            "file:7: unknown section [agent]; there are TABLES",
            "file:4: bpffs = 'x' must be an absolute path",
            "file:1: lease_seconds = 1 must be a number from 60 to 31536000",
            "file:5: log_json = 'true' must be true or false",
            "file:3: unknown key `resync_second`; did you mean `resync_seconds`?",
            "environment variable NETAGENT_METRICS: metrics = localhost must be an address and a port, as in 127.0.0.1:9090 or [::1]:9090",
            "flag --set log: log =  must be a log filter, as in info or netagent=debug",
            "flag --set sockt: unknown key `sockt`; did you mean `socket`?",
            "flag --set x.y: unknown section [x]; there are TABLES",
        ])
    );
}

#[test]
fn a_value_that_is_overridden_has_to_be_one_all_the_same() {
    let refused = with("resync_seconds = 0", &[("NETAGENT_RESYNC_SECONDS", "10")], &[]);
    assert_eq!(complaints(refused), ["file:1: resync_seconds = 0 must be a number from 1 to 3600"]);
}

#[test]
fn a_key_that_is_like_none_is_refused_with_those_that_there_are() {
    let [refused] = complaints(load("colour = 1")).try_into().unwrap();
    assert!(refused.starts_with("file:1: unknown key `colour`; there are socket, bpffs, "), "{refused}");
}

#[test]
fn all_that_is_no_toml_is_said_with_its_line() {
    let refused = complaints(load("socket = '/a'\nsocket = '/b'\nlease_seconds = \n"));
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("file:2: ") && refused[1].starts_with("file:3: "), "{refused:?}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let refused = Layers::new(Some(Path::new("/not/there.toml"))).load().unwrap_err().to_string();
    assert!(refused.starts_with("read configuration /not/there.toml: "), "{refused}");
}

#[test]
fn a_variable_that_is_nearly_one_is_told_of() {
    let doubtful =
        |name: &str| Layers::new(None).environment([(name.to_owned(), String::new())]).doubtful_variables();
    assert_eq!(
        doubtful("NETAGENT_LESE_SECONDS"),
        [("NETAGENT_LESE_SECONDS".to_owned(), "NETAGENT_LEASE_SECONDS".to_owned())]
    );
    for fine in [
        "NETAGENT_CONFIG",
        "NETAGENT_LEASE_SECONDS",
        "NETAGENT_METRICS_PORT",
        "NETAGENT_SERVICE_HOST",
        "PATH",
    ] {
        assert_eq!(doubtful(fine), [], "{fine}");
    }
}

#[test]
fn a_running_agent_takes_up_what_it_can_and_tells_the_rest() {
    let mut running = Config::default();
    let new = load("lease_seconds = 600\nbpffs = '/other'\nmetrics = '127.0.0.1:1'\nlog = 'debug'").unwrap();
    let told = |changes: &[Change]| -> Vec<(String, Applies)> {
        changes
            .iter()
            .map(|change| (format!("{} {} {}", change.key, change.before, change.after), change.applies))
            .collect()
    };
    assert_eq!(
        told(&running.take_up(&new)),
        [
            (r#"bpffs "/sys/fs/bpf" "/other""#.to_owned(), Applies::AtStart),
            (r#"metrics  "127.0.0.1:1""#.to_owned(), Applies::AtStart),
            ("lease_seconds 86400 600".to_owned(), Applies::Live),
            (r#"log "info" "debug""#.to_owned(), Applies::Live),
        ]
    );
    let expected = load("lease_seconds = 600\nlog = 'debug'").unwrap();
    assert_eq!(running, expected);
    // What waits for a start is told again, and what was taken up is not.
    assert_eq!(told(&running.take_up(&new)).len(), 2);
    assert_eq!(running.take_up(&expected), []);
}
