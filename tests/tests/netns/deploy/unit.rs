// SPDX-License-Identifier: MIT OR Apache-2.0
//! The systemd unit: systemd takes every line of it, and it has the capabilities of the DaemonSet and no others.

use std::{collections::BTreeSet, process::Command};

use netagent_tests::{require, require::Need};

use super::objects;
use crate::monitoring::file;

const UNIT: &str = "deploy/systemd/netagent.service";
const INSTALLED: &str = "/usr/local/bin/netagent";

#[test]
#[ignore = "needs systemd-analyze: cargo xtask test netns"]
fn systemd_takes_every_line_of_the_unit() {
    require!(Need::Program("systemd-analyze", "systemd"), Need::Agent);
    let takes = |unit: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netagent.service");
        std::fs::write(&path, unit).unwrap();
        // Without `--recursive-errors` it would warn of a key that it does not know, and end with 0.
        let mut verify = Command::new("systemd-analyze");
        let output =
            verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let unit = file(UNIT);
    assert!(unit.contains(INSTALLED));
    let binary = netagent_tests::agent::binary().unwrap();
    let unit = unit.replace(INSTALLED, binary.to_str().unwrap());
    let (taken, said) = takes(&unit);
    assert!(taken, "{said}");
    let (taken, said) = takes(&unit.replace("LockPersonality", "LockPersonalty"));
    assert!(!taken && said.contains("LockPersonalty"), "{said}");
}

#[test]
#[ignore = "needs kubectl: cargo xtask test netns"]
fn it_may_what_the_daemonset_may() {
    let unit = file(UNIT);
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let unit: BTreeSet<_> =
        set.split(' ').map(|name| name.strip_prefix("CAP_").unwrap().to_owned()).collect();
    let agent = objects("deploy").into_iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let added = &agent["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["add"];
    assert_eq!(unit, serde_json::from_value(added.clone()).unwrap());
}
