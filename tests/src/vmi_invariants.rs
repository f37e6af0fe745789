// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for every VMI that a tenant could have written: the fuzz target `vmi`, and its corpus on a stable compiler,
//! call this.

use netagent::core::{
    hand_off::HandOff,
    kubevirt::{
        asks::{AskError, Moment, Wanted, bound_by_bridge, bound_by_plugin},
        vmi::Vmi,
    },
    mode::Mode,
};

/// Nobody's log line holds all that somebody else wrote, in characters.
const LONGEST: usize = 512;

/// A VMI as virt-handler sends it.
pub fn vmi(json: &[u8]) {
    let Ok(vmi) = Vmi::read(json) else { return };
    printable(&vmi.shown());
    let interfaces = vmi.spec.domain.devices.interfaces.len();
    for moment in [Moment::Start, Moment::Arrival] {
        for (mode, outcome) in [
            (Mode::L2, bound_by_plugin(&vmi, "netagent", moment)),
            (Mode::Accelerate, bound_by_bridge(&vmi, moment)),
        ] {
            match outcome {
                Ok(wanted) => {
                    assert!(wanted.len() <= interfaces, "{} ports of {interfaces} interfaces", wanted.len());
                    wanted.iter().for_each(|wanted| sound(wanted, mode));
                }
                Err(error) => refused(&error),
            }
        }
    }
}

/// What is asked for can be served; what cannot is told in a few words.
fn sound(wanted: &Wanted, mode: Mode) {
    assert_eq!(wanted.mode, mode);
    assert!((1..=256).contains(&wanted.tap.queues), "{wanted:?}");
    assert_ne!(wanted.tap.name, wanted.pod_link);
    assert!(wanted.hand_off.check().is_ok(), "{wanted:?}");
    wanted.left_out.iter().for_each(|text| printable(text));
    match mode {
        Mode::L2 => assert_eq!((wanted.tap.uid, wanted.tap.gid), (Some(107), Some(107))),
        Mode::Accelerate => assert_eq!(wanted.hand_off, HandOff::default()),
    }
}

fn refused(error: &AskError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    printable(&format!("{error} {}", cause.unwrap_or_default()));
}

fn printable(text: &str) {
    assert!(text.chars().count() <= LONGEST, "{} characters", text.chars().count());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/vmi");
        let paths = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
        let mut corpus: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        corpus.sort();
        corpus
    }

    #[test]
    fn the_corpus_holds() {
        let corpus = corpus();
        assert!(corpus.len() >= 8, "only {} inputs", corpus.len());
        for (path, data) in corpus {
            // The name of the file that fails is in the panic's message.
            let held = std::panic::catch_unwind(|| super::vmi(&data));
            assert!(held.is_ok(), "{} does not hold", path.display());
        }
    }

    proptest! {
        /// Any text wherever a tenant may write some.
        #[test]
        fn a_vmi_with_any_text_in_it_holds(
            text in "\\PC{0,40}|.{0,40}|[0-9a-f:.x]{0,40}|.{0,3000}",
            number: u32,
        ) {
            let named = serde_json::json!({"name": text});
            let interface = |bound: &str, bound_by: serde_json::Value| {
                serde_json::json!({
                    "name": text, bound: bound_by, "macAddress": text, "model": text,
                    "dhcpOptions": {
                        "bootFileName": text, "tftpServerName": text, "ntpServers": [text],
                        "privateOptions": [{"option": number, "value": text}],
                    },
                })
            };
            for interface in
                [interface("binding", serde_json::json!({"name": "netagent"})), interface("bridge", serde_json::json!({}))]
            {
                for with_mac in [false, true] {
                    let mut interface = interface.clone();
                    if !with_mac {
                        interface["macAddress"] = "".into();
                    }
                    let vmi = serde_json::json!({
                        "metadata": {"name": text, "namespace": text, "annotations": {"netagent.dev/mtu": text}},
                        "spec": {
                            "domain": {"cpu": {"cores": number}, "devices": {
                                "networkInterfaceMultiqueue": true, "interfaces": [interface],
                            }},
                            "networks": [named],
                        },
                        "status": {"interfaces": [{"name": text, "podInterfaceName": text, "queueCount": number as i32}]},
                    });
                    super::vmi(vmi.to_string().as_bytes());
                }
            }
        }
    }
}
