// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent may do, and for whom it does it: docs/threat-model.md by tests.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use netagent::sys::privileges::CAPABILITIES;
use netagent_tests::{agent::Agent, poll, process::run, topology::Pod};

use crate::{
    require_netns,
    scene::{self, SOON, Scene},
    snapshot::Snapshot,
};

const COMMAND: Duration = Duration::from_secs(30);
const THREAT_MODEL: &str = include_str!("../../../docs/threat-model.md");

/// The sets of a thread, as /proc has them: `(CapEff, 39)` and so on.
fn capabilities(status: &str, set: &str) -> Vec<u32> {
    let hex = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
    let bits = u64::from_str_radix(hex.trim_start_matches(':').trim(), 16).unwrap();
    (0..u64::BITS).filter(|bit| bits >> bit & 1 == 1).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn every_thread_has_the_documented_capabilities_and_no_other() {
    require_netns!();
    let scene = Scene::new().unwrap();
    scene.attach(&[]).unwrap();
    let mut expected: Vec<u32> = CAPABILITIES.iter().map(|one| one.number).collect();
    expected.sort_unstable();
    let tasks = format!("/proc/{}/task", scene.agent.pid().unwrap());
    let mut seen = 0;
    for task in fs::read_dir(tasks).unwrap() {
        // A thread that ended since had the same.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(capabilities(&status, set), expected, "{set} of {status}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(capabilities(&status, set), Vec::<u32>::new(), "{set} of {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        seen += 1;
    }
    assert!(seen > 1, "the threads that were started after it gave up are among them");

    let table = THREAT_MODEL.lines().filter(|line| line.starts_with("| `CAP_"));
    let mut documented: Vec<&str> = table
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').filter(|word| word.starts_with("CAP_")))
        .collect();
    let mut names: Vec<&str> = CAPABILITIES.iter().map(|one| one.name).collect();
    documented.sort_unstable();
    names.sort_unstable();
    assert_eq!(documented, names, "docs/threat-model.md");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_socket_is_for_root_alone() {
    require_netns!();
    netagent_tests::require!(netagent_tests::require::Need::Program("setpriv", "util-linux"));
    let agent = Agent::builder().start().unwrap();
    let shared = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(shared.path(), 0o755);
    // Where others may execute it, whatever folder it was built in.
    let binary = shared.path().join("netagent");
    fs::copy(agent.binary(), &binary).unwrap();
    open(&binary, 0o755);
    let status = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        run(command.arg(&binary).arg("status").arg("--socket").arg(agent.socket()), COMMAND).unwrap()
    };
    open(agent.dir(), 0o755);
    let by_mode = status();
    assert_ne!(by_mode.code, 0);
    assert!(by_mode.stderr.contains("run as root"), "{by_mode:?}");
    // An administrator's slip opens the door, and not the agent.
    open(&agent.socket(), 0o666);
    let by_peer = status();
    assert_eq!(by_peer.code, 1, "{by_peer:?}");
    assert!(by_peer.stderr.contains("user 65534 may not use the agent's socket"), "{by_peer:?}");
    assert_eq!(agent.cli(&["status"]).unwrap().code, 0);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn the_node_s_namespace_is_refused_at_every_door() {
    require_netns!();
    let links =
        || fs::read_dir("/sys/class/net").unwrap().map(|link| link.unwrap().file_name()).collect::<Vec<_>>();
    let before = links();
    let pod = Pod::default().build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let door = scratch.path().join("door");
    symlink("/proc/self/ns/net", &door).unwrap();
    let door = door.to_str().unwrap().to_owned();
    let mut agent = Agent::builder().arg("--attach").arg(&door).start().unwrap();
    let own = format!("/proc/{}/ns/net", std::process::id());
    // Some machines show nobody what their init is.
    let init = fs::metadata("/proc/1/ns/net").is_ok().then_some("/proc/1/ns/net");
    for path in ["/proc/self/ns/net", &own, &door].into_iter().chain(init) {
        for verb in ["attach", "plan"] {
            let refused = agent.cli(&[verb, "--netns", path, "--pod-link", "lo"]).unwrap();
            assert_eq!(refused.code, 1, "{verb} {path}: {refused:?}");
            assert!(refused.stderr.contains("node's own network namespace"), "{verb} {path}: {refused:?}");
        }
    }
    poll::wait_until("the flag's namespace to be refused", SOON, || {
        let said = |line: &str| line.contains("could not attach") && line.contains("own network namespace");
        agent.log().lines().any(said).then_some(())
    })
    .unwrap();

    // A pod's path that leads to the node's namespace later, while the agent runs and when it starts.
    for agent_is_down in [false, true] {
        fs::remove_file(&door).unwrap();
        symlink(pod.pod.path(), &door).unwrap();
        let bare = Snapshot::take(&pod.pod).unwrap();
        agent.json(&["attach", "--netns", &door]).unwrap();
        if agent_is_down {
            agent.kill9().unwrap();
        }
        fs::remove_file(&door).unwrap();
        symlink("/proc/self/ns/net", &door).unwrap();
        if agent_is_down {
            agent.set_args::<&str>([]);
            agent.start().unwrap();
        }
        poll::try_until("the port to say that its path leads elsewhere", SOON, || {
            let all = agent.json(&["status"])?;
            let reason = all[0]["reason"].as_str().unwrap_or_default().to_owned();
            Ok(reason.contains("no longer leads to the port's namespace").then_some(()))
        })
        .unwrap();
        assert_eq!(links(), before, "something was made in the node's namespace");
        // It is the pod's again, whose guest was guarded all the while.
        fs::remove_file(&door).unwrap();
        symlink(pod.pod.path(), &door).unwrap();
        agent.json(&["attach", "--netns", &door]).unwrap();
        agent.json(&["detach", "--netns", &door]).unwrap();
        assert_eq!(bare.changes(&Snapshot::take(&pod.pod).unwrap()), Vec::<String>::new());
    }
    assert_eq!(links(), before);
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_request_that_is_too_long_is_refused() {
    require_netns!();
    let scene = Scene::new().unwrap();
    let path = scene::path(scene.pod()).unwrap();
    let long = "x".repeat(100_000);
    let refused = scene.agent.cli(&["attach", "--netns", path, "--hostname", &long]).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stderr.len());
    assert!(refused.stderr.contains("message") && refused.stderr.len() < 1000, "{}", refused.stderr);
    scene.attach(&[]).unwrap();
}
