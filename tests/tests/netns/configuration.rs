// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration of a running agent: refused whole, read again at SIGHUP, and never at the cost of a port.

use std::{fs, process::Command};

use netagent_tests::{agent::Agent, attached, poll, process::run, topology::Pod};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    require_netns,
    scene::{self, SOON},
};

/// Whether a line of the agent's log has all these words.
fn said(agent: &Agent, words: &[&str]) -> bool {
    agent.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
}

fn hang_up(agent: &Agent, words: &[&str]) {
    let pid = i32::try_from(agent.pid().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    let what = format!("the agent to say {words:?}");
    poll::wait_until(&what, SOON, || said(agent, words).then_some(())).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn a_configuration_is_taken_up_under_ports_that_do_not_notice() {
    require_netns!();
    let pod = Pod::default().build().unwrap();
    let mut agent = Agent::builder().prepare().unwrap();
    let file = agent.dir().join("netagent.toml");
    let write = |text: &str| fs::write(&file, text).unwrap();
    write("lease_seconds = 600\nlog = 'info'\n");
    agent.set_args(["--config", file.to_str().unwrap(), "--resync-seconds", "3600"]);
    agent.start().unwrap();
    scene::attach(&agent, &pod, &[]).unwrap();
    let programs = attached::programs(&pod.pod).unwrap();
    let lease = || scene::show(&agent, &pod).unwrap()["dhcp"]["lease"].as_str().unwrap().to_owned();
    assert!(lease().ends_with(" for 600 s"), "{}", lease());

    // What a running agent can take up, and what waits; flags lie over the file as before.
    write("lease_seconds = 900\nlog = 'netagent=debug'\nresync_seconds = 10\nmetrics = '127.0.0.1:1'\n");
    hang_up(&agent, &["configuration taken up", "lease_seconds", "600", "900"]);
    assert!(said(&agent, &["takes effect when the agent starts again", "metrics", "127.0.0.1:1"]));
    assert!(!said(&agent, &["configuration", "resync_seconds"]), "a flag sets that");
    poll::wait_until("the new lease time", SOON, || lease().ends_with(" for 900 s").then_some(())).unwrap();

    // A file that is broken changes nothing; all that is wrong with it is said.
    write("lease_seconds = 1200\nlease_second = 5\nlog = 7\n");
    hang_up(
        &agent,
        &[
            "configuration refused",
            "netagent.toml:2: unknown key `lease_second`; did you mean `lease_seconds`?",
        ],
    );
    assert!(said(&agent, &["configuration refused", "netagent.toml:3: log = 7 must be a log filter"]));
    assert!(lease().ends_with(" for 900 s"), "{}", lease());
    fs::remove_file(&file).unwrap();
    hang_up(&agent, &["configuration refused", "read configuration", "netagent.toml"]);

    // The log's filter is another one since: steps are told of at debug.
    assert!(!said(&agent, &["DEBUG", "step"]));
    scene::attach(&agent, &pod, &["--mac", "02:00:00:00:00:07"]).unwrap();
    poll::wait_until("a step in the log", SOON, || said(&agent, &["DEBUG", "step"]).then_some(())).unwrap();
    assert_eq!(attached::programs(&pod.pod).unwrap(), programs, "no program was put in anew");
}

#[test]
#[ignore = "needs root: cargo xtask test netns"]
fn everything_that_is_wrong_is_said_before_anything_starts() {
    require_netns!();
    let mut agent = Agent::builder().prepare().unwrap();
    let file = agent.dir().join("netagent.toml");
    fs::write(&file, "lease_seconds = 1\nsockte = '/x'\n").unwrap();
    agent.set_args([
        "--config",
        file.to_str().unwrap(),
        "--set",
        "resync_seconds=x",
        "--set",
        "log.level=info",
    ]);
    let mut command = agent.run_command();
    command.env("NETAGENT_METRICS", "9090");
    let refused = run(&mut command, SOON).unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    for words in [
        "5 things are wrong with the configuration",
        "netagent.toml:1: lease_seconds = 1 must be a number from 60 to 31536000",
        "netagent.toml:2: unknown key `sockte`; did you mean `socket`?",
        "environment variable NETAGENT_METRICS: metrics = 9090 must be an address and a port",
        "flag --set resync_seconds: resync_seconds = x must be a number from 1 to 3600",
        "flag --set log.level: unknown section [log]",
    ] {
        assert!(refused.stderr.contains(words), "{words} is not in {}", refused.stderr);
    }
    assert!(!agent.socket().exists());
    // The check says the same of file and environment, and prints what a good one comes to.
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(agent.binary());
        command.args(["config", "check"]).arg(&file).args(["--set", "log=debug"]);
        run(command.env("NETAGENT_RESYNC_SECONDS", "60"), SOON).unwrap()
    };
    let refused = check("lease_seconds = 1\nsockte = '/x'\n");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("2 things are wrong"), "{refused:?}");
    let good = check("lease_seconds = 600\n");
    assert_eq!(good.code, 0, "{good:?}");
    for line in
        ["lease_seconds = 600", "resync_seconds = 60", "log = \"debug\"", "# A mounted BPF filesystem."]
    {
        assert!(good.stdout.contains(line), "{line} is not in {}", good.stdout);
    }
}
