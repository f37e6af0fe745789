// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for every call of the CNI plugin whatever its environment and standard input: the fuzz target `cni`, and its
//! corpus on a stable compiler, call this.

#![expect(clippy::panic, reason = "what does not hold ends the run")]

use std::{collections::BTreeMap, ffi::OsString};

use netagent::{
    api::v1,
    cni::{Ask, Call, CniError, CniResult, Command, Request, Role, SpecVersion, version_for_errors},
    core::{
        ids::{IfName, MacAddr},
        tier::TierChoice,
    },
};
use serde_json::Value;

/// The codes that docs/cni.md lists.
const CODES: [u32; 12] = [1, 2, 4, 5, 6, 7, 11, 50, 100, 101, 102, 103];
/// Nobody's log holds a megabyte of what somebody else sent.
const LONGEST_ERROR: usize = 8192;

/// Lines as `NAME=value` up to an empty one, and then standard input.
pub fn cni(data: &[u8]) {
    let (head, stdin) = split(data);
    let variables: BTreeMap<&str, &str> = head.lines().filter_map(|line| line.split_once('=')).collect();
    let variable = |name: &str| variables.get(name).map(OsString::from);
    let outcome = Command::read(&variable).and_then(|command| Request::read(command, &variable, stdin));
    match outcome {
        Ok(Request { call: Call::Add(ask) | Call::Check(ask), .. }) => asked(&ask, stdin),
        Ok(Request { call: Call::Del(removal), socket, .. }) => {
            assert!(socket.is_absolute());
            assert!(!removal.attachment.container.contains('/'));
            assert!(removal.netns.is_none_or(|netns| netns.is_absolute()));
        }
        Ok(Request { call: Call::Gc { network, .. }, socket, .. }) => {
            assert!(socket.is_absolute() && !network.is_empty() && !network.contains('/'));
        }
        Ok(Request { call: Call::Version { spoken }, .. }) => assert!((1..=32).contains(&spoken.len())),
        Ok(Request { call: Call::Status, .. }) => {}
        Err(error) => told(&error, stdin),
    }
}

fn split(data: &[u8]) -> (&str, &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, stdin) = match end {
        Some(end) => (data.get(..end), data.get(end + 2..)),
        None => (Some(data), None),
    };
    (std::str::from_utf8(head.unwrap_or_default()).unwrap_or_default(), stdin.unwrap_or_default())
}

/// An error is one that is documented, short, and says something.
fn told(error: &CniError, stdin: &[u8]) {
    let version = version_for_errors(stdin);
    for json in [error.to_json(version), error.to_status_json(version)] {
        assert!(CODES.iter().any(|code| json["code"] == *code), "{json}");
        assert!(json["msg"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        assert_eq!(json["cniVersion"], version.as_str());
        assert!(json.to_string().len() <= LONGEST_ERROR, "an error of {} bytes", json.to_string().len());
    }
}

/// What the agent is asked for is within its bounds, and every result is one.
fn asked(ask: &Ask, stdin: &[u8]) {
    for secondary_is_there in [false, true] {
        let request = ask.request(secondary_is_there);
        assert!(request.netns.starts_with('/'));
        assert!(is::<IfName>(&request.pod_link), "{request:?}");
        assert!(request.tap.is_empty() || is::<IfName>(&request.tap), "{request:?}");
        assert!(request.mac.is_empty() || is::<MacAddr>(&request.mac), "{request:?}");
        assert!(is::<TierChoice>(&request.tier), "{request:?}");
        assert!(request.queues <= 256 && request.dns.len() <= 8 && request.search.len() <= 32, "{request:?}");
        let origin = request.origin.unwrap_or_default();
        assert_eq!((origin.source.as_str(), origin.sandbox.is_empty()), ("cni", false));
        if ask.role == Role::KubeVirt {
            assert!(request.pod_link.len() == if secondary_is_there { 14 } else { 4 });
            assert!(request.uid.is_some());
        }
    }
    let _ = ask.difference(&port());
    let result = ask.result(&port());
    for version in SpecVersion::ALL {
        let written = result.encode(version);
        sound(&written, version);
        let read = CniResult::decode(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
        assert_eq!(read.encode(version), written, "a result that does not survive being handed on");
    }
    let before: Value = serde_json::from_slice(stdin).unwrap_or_default();
    let (before, after) = (&before["prevResult"], result.encode(ask.version));
    let count = |result: &Value, key: &str| result[key].as_array().map_or(0, Vec::len);
    let more = if ask.role == Role::Vm { 2 } else { 0 };
    assert_eq!(count(&after, "interfaces"), count(before, "interfaces") + more);
    assert!(ask.role == Role::Vm || count(&after, "ips") == count(before, "ips"));
    // What is not ours to touch.
    for (key, value) in before.as_object().into_iter().flatten() {
        if !["cniVersion", "interfaces", "ips"].contains(&key.as_str()) {
            assert_eq!(&after[key], value, "{key} was changed");
        }
    }
}

fn sound(result: &Value, version: SpecVersion) {
    assert_eq!(result["cniVersion"], version.as_str());
    let interfaces = result["interfaces"].as_array().map_or(0, Vec::len);
    for ip in result["ips"].as_array().into_iter().flatten() {
        let index = ip["interface"].as_u64();
        assert!(index.is_none_or(|index| index < interfaces as u64), "{ip} of {interfaces} interfaces");
        assert_eq!(ip.get("version").is_some(), version < SpecVersion::V1_0_0, "{ip}");
    }
}

/// A port as the agent shows one.
fn port() -> v1::Port {
    v1::Port {
        pod_link: Some(v1::PodLink {
            ifname: "eth0".into(),
            ifindex: 2,
            mac: "02:00:00:00:00:05".into(),
            mtu: 1500,
        }),
        tap: Some(v1::Tap {
            ifname: "tap0".into(),
            ifindex: 3,
            mtu: 1500,
            mac: "02:00:00:00:00:07".into(),
            ..v1::Tap::default()
        }),
        guest: Some(v1::Guest {
            mac: "02:00:00:00:00:05".into(),
            addresses: vec!["10.88.0.5/24".into()],
            ..v1::Guest::default()
        }),
        ..v1::Port::default()
    }
}

fn is<T: std::str::FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/cni");
        let paths = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
        let mut corpus: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        corpus.sort();
        corpus
    }

    proptest! {
        /// A call with a few bytes of another one, or of none, in it.
        #[test]
        fn a_call_that_is_not_quite_one_holds(
            seed in prop::sample::select(corpus()),
            other in prop::sample::select(corpus()),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, any::<prop::sample::Index>(), 0..40_usize), 1..4),
        ) {
            let mut data = seed.1;
            for (at, cut, from, take) in edits {
                let at = at.index(data.len() + 1);
                let end = (at + cut).min(data.len());
                let from = from.index(other.1.len() + 1);
                let taken = other.1[from..].iter().take(take).copied();
                data.splice(at..end, taken.collect::<Vec<_>>());
            }
            super::cni(&data);
        }
    }

    #[test]
    fn the_corpus_holds() {
        let mut ran = 0;
        for (path, data) in corpus() {
            // The name of the file that fails is in the panic's message.
            let held = std::panic::catch_unwind(|| super::cni(&data));
            assert!(held.is_ok(), "{} does not hold", path.display());
            ran += 1;
        }
        assert!(ran >= 20, "only {ran} inputs");
    }
}
